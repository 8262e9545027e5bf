// node time_with_node.js MODEL.onnx SECONDS CORE
// Times inferences by onnxruntime-node on one thread, after warm-up, with normally
// distributed input, and prints two medians in milliseconds: of single inferences,
// and of blocks of 10 ms in which nothing took CORE from them. The thread is bound to
// CORE; those of V8, which collect garbage and compile, are left to others.
const { execFileSync } = require('child_process');
const { readFileSync } = require('fs');
const ort = require('onnxruntime-node');

function normal() {
  return Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random());
}

function median(values) {
  values.sort((a, b) => a - b);
  return values[Math.floor(values.length / 2)];
}

// What the kernel counts of this thread and of its core: milliseconds that it waited for
// the core, how often it was preempted, ticks that the hypervisor took.
function counts(core) {
  const thread = `/proc/self/task/${process.pid}`;
  const status = readFileSync(`${thread}/status`, 'utf8');
  const cpu = readFileSync('/proc/stat', 'utf8').match(new RegExp(`^cpu${core} (.*)$`, 'm'))[1];
  return {
    waitedMs: Number(readFileSync(`${thread}/schedstat`, 'utf8').split(' ')[1]) / 1e6,
    preemptions: Number(status.match(/^nonvoluntary_ctxt_switches:\s*(\d+)/m)[1]),
    steal: Number(cpu.trim().split(/\s+/)[7]),
  };
}

async function main() {
  const [file, seconds, core] = [process.argv[2], Number(process.argv[3]), process.argv[4]];
  execFileSync('taskset', ['--pid', '--cpu-list', core, String(process.pid)]);
  const session = await ort.InferenceSession.create(file, {
    intraOpNumThreads: 1,
    interOpNumThreads: 1,
    executionMode: 'sequential',
    graphOptimizationLevel: 'all',
  });
  const shape = session.inputMetadata[0].shape.map((d) => (typeof d === 'number' ? d : 1));
  const size = shape.reduce((a, b) => a * b, 1);
  const feeds = {
    [session.inputNames[0]]: new ort.Tensor('float32', Float32Array.from({ length: size }, normal), shape),
  };
  const now = () => Number(process.hrtime.bigint()) / 1e6;
  for (const end = now() + 500; now() < end; ) await session.run(feeds);
  const inferences = [];
  const blocks = [];
  for (const end = now() + seconds * 1000; now() < end; ) {
    const before = counts(core);
    let sum = 0;
    let count = 0;
    while (sum < 10) {
      const begin = now();
      await session.run(feeds);
      inferences.push(now() - begin);
      sum += inferences[inferences.length - 1];
      ++count;
    }
    const after = counts(core);
    if (after.waitedMs - before.waitedMs <= 0.005 * sum &&
        after.preemptions === before.preemptions && after.steal === before.steal) {
      blocks.push(sum / count);
    }
  }
  console.log(median(inferences), blocks.length ? median(blocks) : 'nan');
}

main().catch((error) => {
  console.error(String(error));
  process.exit(1);
});

// node time_with_node.js MODEL.onnx SECONDS CORE
// Prints the median milliseconds of one inference by onnxruntime-node on one
// thread, after warm-up, with normally distributed input. That thread is bound
// to CORE; those of V8, which collect garbage and compile, are left to others.
const { execFileSync } = require('child_process');
const ort = require('onnxruntime-node');

function normal() {
  return Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random());
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
  const samples = [];
  for (const end = now() + seconds * 1000; now() < end; ) {
    const begin = now();
    await session.run(feeds);
    samples.push(now() - begin);
  }
  samples.sort((a, b) => a - b);
  console.log(samples[Math.floor(samples.length / 2)]);
}

main().catch((error) => {
  console.error(String(error));
  process.exit(1);
});

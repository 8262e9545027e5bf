// hwnas list; hwnas worker list
#include "cli/commands.h"
#include "cli/device_table.h"
#include "cli/trial_table.h"
#include "common/status_macros.h"
#include "proto/convert/convert.h"

namespace hwnas::cli {
namespace {

std::vector<Column> WorkerColumns() {
  return {{"name", "name"},
          {"state", "state"},
          {"busy_slots", "busy", true},
          {"slots", "slots", true},
          {"finished", "finished", true},
          {"failed", "failed", true},
          {"cpu", "processor"},
          {"cores", "cores", true},
          {"host", "host"},
          {"runtime", "runtime", false, false, true},
          {"os", "os", false, false, true},
          {"last_seen", "last seen"},
          {"note", "note"}};
}

void AddWorker(Table* table, const v1::Executor& worker) {
  const v1::Environment& environment = worker.environment();
  table->Add({worker.name(), ExecutorStateName(worker.state()),
              Cell::Integer(worker.busy_slots()), Cell::Integer(worker.slots()),
              Cell::Integer(worker.finished_count()),
              Cell::Integer(worker.failed_count()), environment.cpu_model(),
              Cell::Integer(environment.logical_cores()), environment.host(),
              environment.runtime(), environment.os(),
              FormatTime(worker.last_seen_time()), worker.quarantine_reason()});
}

}  // namespace

void AddListCommand(CLI::App* app, Context* context) {
  CLI::App* command = app->add_subcommand("list", "List all studies");
  AddServerOption(command, context);
  AddOutputOption(command, context);
  SetExamples(command, {"hwnas list", "hwnas list --output json"});
  SetAction(command, context, [=]() -> absl::Status {
    Client client = context->MakeClient();
    HWNAS_ASSIGN_OR_RETURN(const std::vector<v1::Study> studies,
                           client.ListStudies());
    *context->out << StudyTable(studies).Render(context->format());
    return absl::OkStatus();
  });
}

void AddWorkerCommand(CLI::App* app, Context* context) {
  CLI::App* worker =
      app->add_subcommand("worker", "Training workers of a controller");
  worker->require_subcommand(1);
  SetExamples(worker, {"hwnas worker list"});
  CLI::App* command =
      worker->add_subcommand("list", "List connected and lost workers");
  AddServerOption(command, context);
  AddOutputOption(command, context);
  SetExamples(command, {"hwnas worker list", "hwnas worker list --output csv"});
  SetAction(command, context, [=]() -> absl::Status {
    Client client = context->MakeClient();
    HWNAS_ASSIGN_OR_RETURN(const std::vector<v1::Executor> executors,
                           client.ListExecutors(v1::WORKER));
    Table table(WorkerColumns());
    for (const v1::Executor& worker : executors) AddWorker(&table, worker);
    *context->out << table.Render(context->format());
    return absl::OkStatus();
  });
}

}  // namespace hwnas::cli

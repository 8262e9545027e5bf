// hwnas list; hwnas worker list; hwnas device list
#include <algorithm>

#include "absl/strings/str_join.h"
#include "cli/commands.h"
#include "cli/trial_table.h"
#include "common/status_macros.h"
#include "proto/convert/convert.h"

namespace hwnas::cli {
namespace {

std::string StateName(v1::Executor::State state) {
  switch (state) {
    case v1::Executor::CONNECTED:
      return "connected";
    case v1::Executor::LOST:
      return "lost";
    case v1::Executor::DRAINING:
      return "draining";
    case v1::Executor::QUARANTINED:
      return "quarantined";
    default:
      return "unknown";
  }
}

std::vector<Column> ExecutorColumns(bool agents) {
  std::vector<Column> columns = {{"name", "name"}, {"state", "state"}};
  if (agents) {
    columns.push_back({"device_classes", "classes"});
    columns.push_back({"runtimes", "runtimes"});
    columns.push_back({"power", "power"});
  }
  columns.insert(columns.end(), {{"busy_slots", "busy", true},
                                 {"slots", "slots", true},
                                 {"finished", "finished", true},
                                 {"failed", "failed", true},
                                 {"cpu", "processor"},
                                 {"cores", "cores", true},
                                 {"host", "host"},
                                 {"runtime", "runtime", false, false, true},
                                 {"os", "os", false, false, true},
                                 {"last_seen", "last seen"},
                                 {"note", "note"}});
  return columns;
}

nlohmann::ordered_json Names(
    const google::protobuf::RepeatedPtrField<std::string>& names) {
  return std::vector<std::string>(names.begin(), names.end());
}

void AddExecutor(Table* table, const v1::Executor& executor,
                 const std::string& name, const v1::Device* device) {
  std::vector<Cell> cells = {name, StateName(executor.state())};
  if (device != nullptr) {
    cells.push_back({absl::StrJoin(device->device_classes(), ", "),
                     Names(device->device_classes())});
    cells.push_back(
        {absl::StrJoin(device->runtimes(), ", "), Names(device->runtimes())});
    cells.push_back(executor.power().name());
  }
  const v1::Environment& environment = executor.environment();
  cells.insert(
      cells.end(),
      {Cell::Integer(executor.busy_slots()), Cell::Integer(executor.slots()),
       Cell::Integer(executor.finished_count()),
       Cell::Integer(executor.failed_count()), environment.cpu_model(),
       Cell::Integer(environment.logical_cores()), environment.host(),
       environment.runtime(), environment.os(),
       FormatTime(executor.last_seen_time()), executor.quarantine_reason()});
  table->Add(std::move(cells));
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
    Table table(ExecutorColumns(/*agents=*/false));
    for (const v1::Executor& executor : executors) {
      AddExecutor(&table, executor, executor.name(), nullptr);
    }
    *context->out << table.Render(context->format());
    return absl::OkStatus();
  });
}

void AddDeviceCommand(CLI::App* app, Context* context) {
  CLI::App* device =
      app->add_subcommand("device", "Devices that measure for a controller");
  device->require_subcommand(1);
  SetExamples(device, {"hwnas device list"});
  auto wanted = std::make_shared<std::string>();
  CLI::App* command = device->add_subcommand("list", "List devices");
  command->add_option("--class", *wanted, "Only devices of this class");
  AddServerOption(command, context);
  AddOutputOption(command, context);
  SetExamples(command,
              {"hwnas device list",
               "hwnas device list --class raspberrypi5 --output json"});
  SetAction(command, context, [=]() -> absl::Status {
    Client client = context->MakeClient();
    HWNAS_ASSIGN_OR_RETURN(const std::vector<v1::Device> devices,
                           client.ListDevices());
    Table table(ExecutorColumns(/*agents=*/true));
    for (const v1::Device& one : devices) {
      const auto& classes = one.device_classes();
      if (!wanted->empty() &&
          std::find(classes.begin(), classes.end(), *wanted) == classes.end()) {
        continue;
      }
      AddExecutor(&table, one.executor(), one.name(), &one);
    }
    *context->out << table.Render(context->format());
    return absl::OkStatus();
  });
}

}  // namespace hwnas::cli

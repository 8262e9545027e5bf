// hwnas device list, show, reserve, release, drain, quarantine, resume; lut is
// in device_lut.cc
#include <algorithm>
#include <memory>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "cli/commands.h"
#include "cli/device_table.h"
#include "cli/trial_table.h"
#include "common/status_macros.h"
#include "google/protobuf/util/json_util.h"
#include "proto/convert/convert.h"

namespace hwnas::cli {
namespace {

void Print(Context* context, const v1::Device& device) {
  switch (context->format()) {
    case OutputFormat::kTable:
      *context->out << DeviceText(device, absl::Now());
      return;
    case OutputFormat::kCsv:
      *context->out << DeviceTable({device}, absl::Now()).ToCsv();
      return;
    case OutputFormat::kJson: {
      google::protobuf::util::JsonPrintOptions options;
      options.preserve_proto_field_names = true;
      options.add_whitespace = true;
      std::string json;
      (void)google::protobuf::util::MessageToJsonString(device, &json, options);
      *context->out << json;
    }
  }
}

CLI::App* AddDeviceSubcommand(CLI::App* app, Context* context,
                              const std::string& name, const std::string& help,
                              std::string* device) {
  CLI::App* command = app->add_subcommand(name, help);
  command->add_option("device", *device, "Name of the device, as in the list")
      ->required();
  AddServerOption(command, context);
  AddOutputOption(command, context);
  return command;
}

void AddList(CLI::App* app, Context* context) {
  auto wanted = std::make_shared<std::string>();
  CLI::App* command = app->add_subcommand("list", "List devices");
  command->add_option("--class", *wanted, "Only devices of this class");
  AddServerOption(command, context);
  AddOutputOption(command, context);
  SetExamples(command,
              {"hwnas device list",
               "hwnas device list --class raspberrypi5 --output json"});
  SetAction(command, context, [=]() -> absl::Status {
    Client client = context->MakeClient();
    HWNAS_ASSIGN_OR_RETURN(std::vector<v1::Device> devices,
                           client.ListDevices());
    std::erase_if(devices, [&](const v1::Device& device) {
      const auto& classes = device.device_classes();
      return !wanted->empty() && std::find(classes.begin(), classes.end(),
                                           *wanted) == classes.end();
    });
    *context->out
        << DeviceTable(devices, absl::Now()).Render(context->format());
    return absl::OkStatus();
  });
}

void AddShow(CLI::App* app, Context* context) {
  auto device = std::make_shared<std::string>();
  CLI::App* command = AddDeviceSubcommand(
      app, context, "show", "All about one device: abilities, health, anchors",
      device.get());
  SetExamples(command,
              {"hwnas device show pi-7", "hwnas device show pi-7 -o json"});
  SetAction(command, context, [=]() -> absl::Status {
    HWNAS_ASSIGN_OR_RETURN(const std::string name, DeviceNameFromUser(*device));
    Client client = context->MakeClient();
    HWNAS_ASSIGN_OR_RETURN(const v1::Device found, client.GetDevice(name));
    Print(context, found);
    return absl::OkStatus();
  });
}

void AddReserve(CLI::App* app, Context* context) {
  struct Options {
    std::string device;
    std::string device_class;
    std::string duration = "1h";
    std::string note;
    std::string user;
  };
  auto options = std::make_shared<Options>();
  CLI::App* command = app->add_subcommand(
      "reserve",
      "Have a device for yourself for a while: its work is given "
      "back, and only your profiles run on it");
  command->add_option("device", options->device,
                      "Name of the device; or give --class");
  command->add_option("--class", options->device_class,
                      "Any device of this class, rather an idle one");
  command
      ->add_option("--for", options->duration,
                   "How long, 1m to 720h; then it ends by itself")
      ->capture_default_str();
  command->add_option("--note", options->note, "What for");
  AddUserOption(command, &options->user);
  AddServerOption(command, context);
  AddOutputOption(command, context);
  SetExamples(command,
              {"hwnas device reserve pi-7 --for 2h --note 'new kernel'",
               "hwnas device reserve --class jetson-orin-nano",
               "hwnas device release pi-7"});
  SetAction(command, context, [=]() -> absl::Status {
    v1::ReserveDeviceRequest request;
    if (options->device.empty() == options->device_class.empty()) {
      return absl::InvalidArgumentError(
          "expected either the name of a device or --class");
    }
    if (!options->device.empty()) {
      HWNAS_ASSIGN_OR_RETURN(*request.mutable_name(),
                             DeviceNameFromUser(options->device));
    }
    absl::Duration duration;
    if (!absl::ParseDuration(options->duration, &duration)) {
      return absl::InvalidArgumentError(
          absl::StrCat("--for is \"", options->duration,
                       "\": expected a time such as 90m or 2h"));
    }
    if (options->user.empty()) {
      return absl::InvalidArgumentError("who are you? Give --user NAME");
    }
    request.set_device_class(options->device_class);
    request.set_user(options->user);
    request.set_note(options->note);
    *request.mutable_duration() = ToProto(duration);
    Client client = context->MakeClient();
    HWNAS_ASSIGN_OR_RETURN(const v1::Device device,
                           client.ReserveDevice(request));
    if (context->format() == OutputFormat::kTable) {
      *context->out << device.name() << " is yours (" << options->user
                    << ") until "
                    << FormatTime(device.reservation().expire_time()) << "\n";
      return absl::OkStatus();
    }
    Print(context, device);
    return absl::OkStatus();
  });
}

void AddRelease(CLI::App* app, Context* context) {
  struct Options {
    std::string device;
    std::string user;
    bool force = false;
  };
  auto options = std::make_shared<Options>();
  CLI::App* command = AddDeviceSubcommand(
      app, context, "release", "Give a reserved device back", &options->device);
  command->add_flag("--force", options->force, "Although somebody else has it");
  AddUserOption(command, &options->user);
  SetExamples(command, {"hwnas device release pi-7"});
  SetAction(command, context, [=]() -> absl::Status {
    v1::ReleaseDeviceRequest request;
    HWNAS_ASSIGN_OR_RETURN(*request.mutable_name(),
                           DeviceNameFromUser(options->device));
    request.set_user(options->user);
    request.set_force(options->force);
    Client client = context->MakeClient();
    HWNAS_ASSIGN_OR_RETURN(const v1::Device device,
                           client.ReleaseDevice(request));
    Print(context, device);
    return absl::OkStatus();
  });
}

void AddDrain(CLI::App* app, Context* context) {
  struct Options {
    std::string device;
    std::string reason;
  };
  auto options = std::make_shared<Options>();
  CLI::App* command = AddDeviceSubcommand(
      app, context, "drain",
      "Give a device no new work until 'resume'; running work finishes",
      &options->device);
  command->add_option("--reason", options->reason, "Shown in the list");
  SetExamples(command, {"hwnas device drain pi-7 --reason 'moving the rack'"});
  SetAction(command, context, [=]() -> absl::Status {
    v1::DrainDeviceRequest request;
    HWNAS_ASSIGN_OR_RETURN(*request.mutable_name(),
                           DeviceNameFromUser(options->device));
    request.set_reason(options->reason);
    Client client = context->MakeClient();
    HWNAS_ASSIGN_OR_RETURN(const v1::Device device,
                           client.DrainDevice(request));
    Print(context, device);
    return absl::OkStatus();
  });
}

void AddQuarantine(CLI::App* app, Context* context) {
  struct Options {
    std::string device;
    std::string reason;
    bool recheck = false;
    bool invalidate = false;
  };
  auto options = std::make_shared<Options>();
  CLI::App* command = AddDeviceSubcommand(
      app, context, "quarantine",
      "Stop a device at once: its numbers are not to be trusted",
      &options->device);
  command->add_option("--reason", options->reason, "Shown in the list");
  command->add_flag("--recheck", options->recheck,
                    "Until an anchor is good, not until 'resume'");
  command->add_flag("--invalidate", options->invalidate,
                    "Take back what it has measured since its last good "
                    "anchor; studies that go on measure it again");
  SetExamples(command,
              {"hwnas device quarantine pi-7 --reason 'the fan was off' "
               "--invalidate",
               "hwnas device resume pi-7"});
  SetAction(command, context, [=]() -> absl::Status {
    v1::QuarantineDeviceRequest request;
    HWNAS_ASSIGN_OR_RETURN(*request.mutable_name(),
                           DeviceNameFromUser(options->device));
    request.set_reason(options->reason);
    request.set_recheck(options->recheck);
    request.set_invalidate(options->invalidate);
    Client client = context->MakeClient();
    HWNAS_ASSIGN_OR_RETURN(const v1::Device device,
                           client.QuarantineDevice(request));
    Print(context, device);
    return absl::OkStatus();
  });
}

void AddResume(CLI::App* app, Context* context) {
  auto device = std::make_shared<std::string>();
  CLI::App* command = AddDeviceSubcommand(
      app, context, "resume",
      "End a drain or a quarantine; the device counts as being in order as it "
      "is now",
      device.get());
  SetExamples(command, {"hwnas device resume pi-7"});
  SetAction(command, context, [=]() -> absl::Status {
    v1::ResumeDeviceRequest request;
    HWNAS_ASSIGN_OR_RETURN(*request.mutable_name(),
                           DeviceNameFromUser(*device));
    Client client = context->MakeClient();
    HWNAS_ASSIGN_OR_RETURN(const v1::Device resumed,
                           client.ResumeDevice(request));
    Print(context, resumed);
    return absl::OkStatus();
  });
}

}  // namespace

void AddDeviceCommand(CLI::App* app, Context* context) {
  CLI::App* device =
      app->add_subcommand("device", "Devices that measure for a controller");
  device->require_subcommand(1);
  SetExamples(device, {"hwnas device list", "hwnas device show pi-7",
                       "hwnas device reserve pi-7 --for 2h"});
  AddList(device, context);
  AddShow(device, context);
  AddReserve(device, context);
  AddRelease(device, context);
  AddDrain(device, context);
  AddQuarantine(device, context);
  AddResume(device, context);
  AddDeviceLutCommand(device, context);
}

}  // namespace hwnas::cli

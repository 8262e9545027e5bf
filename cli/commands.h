// One function for each subcommand: adds it to the program. Each lives in
// cli/commands/<name>.cc. `context` must outlive `app`.
#pragma once

#include "cli/context.h"

namespace hwnas::cli {

void AddRunCommand(CLI::App* app, Context* context);
void AddValidateCommand(CLI::App* app, Context* context);
void AddSubmitCommand(CLI::App* app, Context* context);
void AddWatchCommand(CLI::App* app, Context* context);
void AddListCommand(CLI::App* app, Context* context);
void AddShowCommand(CLI::App* app, Context* context);
void AddTrialsCommand(CLI::App* app, Context* context);
void AddSamplesCommand(CLI::App* app, Context* context);
void AddFrontCommand(CLI::App* app, Context* context);
void AddExportCommand(CLI::App* app, Context* context);
void AddSteerCommands(CLI::App* app, Context* context);
void AddWorkerCommand(CLI::App* app, Context* context);
void AddDeviceCommand(CLI::App* app, Context* context);
// Of `device`: in a file of its own.
void AddDeviceLutCommand(CLI::App* device, Context* context);
void AddProfileCommand(CLI::App* app, Context* context);
void AddStoreCommand(CLI::App* app, Context* context);
void AddFleetCommand(CLI::App* app, Context* context);
void AddTrainCommand(CLI::App* app, Context* context);
void AddCaCommand(CLI::App* app, Context* context);
void AddShareCommand(CLI::App* app, Context* context);
void AddVersionCommand(CLI::App* app, Context* context);

}  // namespace hwnas::cli

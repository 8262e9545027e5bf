// The process that runs one model and nothing else.
#pragma once

#include "agent/measure/in_process_measurer.h"

namespace hwnas::agent {

// The first argument of a program that is to call RunMeasuringChild, and the
// descriptor of its socket.
inline constexpr char kMeasuringChildArgument[] = "--measuring-child";
inline constexpr int kMeasuringChildSocket = 3;

// Reads a ChildTask from the socket, confines this process, measures, and says
// the outcome. Returns the exit code. Call it before a second thread exists.
int RunMeasuringChild(const GraphExporter& export_graph);

}  // namespace hwnas::agent

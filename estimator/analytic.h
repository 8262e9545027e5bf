// Counts that follow from the graph alone.
#pragma once

#include <cstdint>

#include "nas/graph/model_graph.h"

namespace hwnas {

// Multiply-accumulates of convolutions and linear layers for one example; what
// the literature on mobile networks calls FLOPs. Other operators count nothing.
int64_t MultiplyAccumulates(const ModelGraph& graph);

// Trainable parameters.
int64_t ParameterCount(const ModelGraph& graph);

// Float32 bytes of all parameters and batch-norm statistics.
int64_t ModelSizeBytes(const ModelGraph& graph);

// Largest number of bytes of float32 values alive at once when the operators
// run in order for one example: a value lives from the operator that makes it
// to the last one that reads it, both included. Flatten and dropout are views.
int64_t PeakActivationBytes(const ModelGraph& graph);

}  // namespace hwnas

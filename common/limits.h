// Bounds on what the network may send. One home, so that both ends agree.
#pragma once

#include <cstddef>
#include <cstdint>

namespace hwnas {

// Largest gRPC message either way.
inline constexpr int kMaxMessageBytes = 66 << 20;
// Largest ONNX file that may be profiled.
inline constexpr size_t kMaxOnnxBytes = size_t{64} << 20;
// Largest stored artifact (trained weights).
inline constexpr int64_t kMaxArtifactBytes = int64_t{1} << 30;
// Data in one chunk of a streamed file.
inline constexpr size_t kChunkBytes = size_t{1} << 20;
// Nodes of a received ModelGraph.
inline constexpr int kMaxGraphNodes = 20000;

}  // namespace hwnas

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
// Largest artifact that is uploaded: the controller holds it in memory until it
// is complete.
inline constexpr size_t kMaxUploadBytes = size_t{256} << 20;
// Data in one chunk of a streamed file.
inline constexpr size_t kChunkBytes = size_t{1} << 20;
// Nodes of a received ModelGraph.
inline constexpr int kMaxGraphNodes = 20000;

// Peers are checked for life by HTTP/2 pings: executors send one after this
// long without traffic and give the connection up after the time-out. A server
// must allow it: GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS =
// kMinPingIntervalMs, or it answers with GOAWAY.
inline constexpr int kKeepaliveTimeMs = 20'000;
inline constexpr int kKeepaliveTimeoutMs = 10'000;
inline constexpr int kMinPingIntervalMs = 10'000;

// All headers of one call.
inline constexpr int kMaxMetadataBytes = 8 << 10;
// Calls of one connection at once.
inline constexpr int kMaxStreamsPerConnection = 4096;
// What all connections together may hold in memory for messages on their way.
inline constexpr size_t kMaxTransportBytes = size_t{2} << 30;
// No certificate is used longer than this after it was replaced.
inline constexpr int kMaxConnectionAgeMs = 3'600'000;

}  // namespace hwnas

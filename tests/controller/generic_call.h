// A call of any method by its name, with bytes instead of messages.
#pragma once

#include <chrono>
#include <future>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "grpcpp/generic/generic_stub.h"
#include "grpcpp/grpcpp.h"

namespace hwnas::controller {

struct Answer {
  grpc::Status status;
  std::string bytes;
};

inline Answer Call(int port, const std::string& method,
                   const std::string& request_bytes = "") {
  grpc::GenericStub stub(grpc::CreateChannel(
      absl::StrCat("127.0.0.1:", port), grpc::InsecureChannelCredentials()));
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() +
                       std::chrono::seconds(20));
  const grpc::Slice slice(request_bytes);
  const grpc::ByteBuffer request(&slice, 1);
  grpc::ByteBuffer response;
  std::promise<grpc::Status> done;
  stub.UnaryCall(
      &context, method, {}, &request, &response,
      [&](grpc::Status status) { done.set_value(std::move(status)); });
  Answer answer{.status = done.get_future().get()};
  std::vector<grpc::Slice> slices;
  if (answer.status.ok() && response.Dump(&slices).ok()) {
    for (const grpc::Slice& part : slices) {
      answer.bytes.append(reinterpret_cast<const char*>(part.begin()),
                          part.size());
    }
  }
  return answer;
}

}  // namespace hwnas::controller

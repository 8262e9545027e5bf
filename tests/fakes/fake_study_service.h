// A controller that says what the test tells it to: StudyService and
// FleetService with one study, in process.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/mutex.h"
#include "grpcpp/grpcpp.h"
#include "hwnas/v1/fleet_service.grpc.pb.h"
#include "hwnas/v1/study_service.grpc.pb.h"

namespace hwnas {

// Thread-safe. Set the public members before the first call.
class FakeStudyService final : public v1::StudyService::Service {
 public:
  v1::Study study;
  std::vector<v1::Trial> trials;
  v1::Front front;
  std::map<std::string, v1::Front> device_fronts;
  std::vector<v1::StudyUpdate> updates;  // What a watch streams.
  // Watches that break off with UNAVAILABLE after their first update.
  int broken_watches = 0;
  std::string onnx = "an onnx file";
  grpc::Status create_status = grpc::Status::OK;

  int watch_count() {
    MutexLock lock(&mutex_);
    return watch_count_;
  }
  v1::CreateStudyRequest created() {
    MutexLock lock(&mutex_);
    return created_;
  }

  grpc::Status CreateStudy(grpc::ServerContext*,
                           const v1::CreateStudyRequest* request,
                           v1::Study* response) override {
    MutexLock lock(&mutex_);
    created_ = *request;
    *response = study;
    return create_status;
  }
  grpc::Status GetStudy(grpc::ServerContext*,
                        const v1::GetStudyRequest* request,
                        v1::Study* response) override {
    *response = study;
    return Find(request->name());
  }
  grpc::Status ListStudies(grpc::ServerContext*, const v1::ListStudiesRequest*,
                           v1::ListStudiesResponse* response) override {
    *response->add_studies() = study;
    return grpc::Status::OK;
  }
  grpc::Status PauseStudy(grpc::ServerContext*,
                          const v1::PauseStudyRequest* request,
                          v1::Study* response) override {
    *response = study;
    response->set_state(v1::Study::PAUSED);
    return Find(request->name());
  }
  grpc::Status WatchStudy(
      grpc::ServerContext*, const v1::WatchStudyRequest* request,
      grpc::ServerWriter<v1::StudyUpdate>* writer) override {
    const grpc::Status found = Find(request->name());
    if (!found.ok()) return found;
    bool broken = false;
    {
      MutexLock lock(&mutex_);
      broken = watch_count_++ < broken_watches;
    }
    for (const v1::StudyUpdate& update : updates) {
      writer->Write(update);
      if (broken) return {grpc::StatusCode::UNAVAILABLE, "going down"};
    }
    return grpc::Status::OK;
  }
  // Two trials a page.
  grpc::Status ListTrials(grpc::ServerContext*,
                          const v1::ListTrialsRequest* request,
                          v1::ListTrialsResponse* response) override {
    size_t from =
        request->page_token().empty() ? 0 : std::stoul(request->page_token());
    for (; from < trials.size() && response->trials_size() < 2; ++from) {
      if (request->state() == v1::Trial::STATE_UNSPECIFIED ||
          request->state() == trials[from].state()) {
        *response->add_trials() = trials[from];
      }
    }
    if (from < trials.size()) {
      response->set_next_page_token(absl::StrCat(from));
    }
    return Find(request->parent());
  }
  grpc::Status GetFront(grpc::ServerContext*,
                        const v1::GetFrontRequest* request,
                        v1::Front* response) override {
    *response = front;
    if (!request->device_class().empty()) {
      const auto found = device_fronts.find(request->device_class());
      if (found == device_fronts.end()) {
        return {grpc::StatusCode::INVALID_ARGUMENT, "no front of that device"};
      }
      *response = found->second;
      response->set_device_class(request->device_class());
    }
    return Find(request->name());
  }
  grpc::Status ExportModel(
      grpc::ServerContext*, const v1::ExportModelRequest*,
      grpc::ServerWriter<v1::ExportModelChunk>* writer) override {
    for (size_t i = 0; i < onnx.size(); i += 5) {
      v1::ExportModelChunk chunk;
      chunk.set_data(onnx.substr(i, 5));
      chunk.set_trained(i == 0);
      writer->Write(chunk);
    }
    return grpc::Status::OK;
  }

 private:
  grpc::Status Find(const std::string& name) const {
    if (name == study.name()) return grpc::Status::OK;
    return {grpc::StatusCode::NOT_FOUND, absl::StrCat("no study ", name)};
  }

  Mutex mutex_;
  int watch_count_ ABSL_GUARDED_BY(mutex_) = 0;
  v1::CreateStudyRequest created_ ABSL_GUARDED_BY(mutex_);
};

// Thread-safe.
class FakeFleetService final : public v1::FleetService::Service {
 public:
  std::vector<v1::Executor> executors;

  grpc::Status ListExecutors(grpc::ServerContext*,
                             const v1::ListExecutorsRequest* request,
                             v1::ListExecutorsResponse* response) override {
    for (const v1::Executor& executor : executors) {
      if (request->kind() == v1::EXECUTOR_KIND_UNSPECIFIED ||
          request->kind() == executor.kind()) {
        *response->add_executors() = executor;
      }
    }
    return grpc::Status::OK;
  }
};

}  // namespace hwnas

#include "proto/convert/convert.h"

namespace hwnas {
namespace {

std::vector<std::string> Texts(
    const google::protobuf::RepeatedPtrField<std::string>& in) {
  return {in.begin(), in.end()};
}

ReplayMetric MetricFromProto(const v1::ReplayMetric& in) {
  ReplayMetric out;
  out.key = {in.metric(), in.device()};
  out.column = in.column();
  if (in.has_scale()) out.scale = in.scale();
  out.unit = in.unit();
  if (out.unit.empty()) {
    if (const MetricInfo* info = FindMetric(in.metric())) {
      out.unit = std::string(info->unit);
    }
  }
  switch (in.stage()) {
    case v1::ReplayMetric::SCREEN:
      out.stage = ReplayStage::kScreen;
      break;
    case v1::ReplayMetric::MEASURE:
      out.stage = ReplayStage::kMeasure;
      break;
    case v1::ReplayMetric::TRAIN:
      out.stage = ReplayStage::kTrain;
      break;
    default:
      out.stage = DefaultReplayStage(out.key);
  }
  return out;
}

// `given` false: 1 s for each trial.
ReplayCost CostFromProto(bool given, const v1::ReplayCost& in) {
  ReplayCost out;
  out.column = in.column();
  if (in.has_scale()) out.scale = in.scale();
  out.seconds = given ? in.seconds() : 1;
  return out;
}

}  // namespace

ReplayConfig FromProto(const v1::ReplaySpec& proto) {
  ReplayConfig config;
  for (const v1::ReplayFile& in : proto.tables()) {
    config.files.push_back(
        {.path = in.path(), .join = in.join(), .sha256 = in.sha256()});
  }
  config.architecture = proto.architecture();
  for (const v1::ReplayKey& in : proto.keys()) {
    ReplayKey& key = config.keys.emplace_back();
    key.columns = Texts(in.columns());
    key.decisions = Texts(in.decisions());
    key.codes = Texts(in.codes());
    if (in.has_absent()) key.absent = in.absent();
  }
  for (const v1::ReplayMetric& in : proto.metrics()) {
    config.metrics.push_back(MetricFromProto(in));
  }
  config.cost = CostFromProto(proto.has_cost(), proto.cost());
  config.epochs = proto.epochs();
  for (const v1::ReplayFidelity& in : proto.fidelities()) {
    ReplayFidelity& fidelity = config.fidelities.emplace_back();
    fidelity.epochs = in.epochs();
    for (const v1::ReplayMetric& metric : in.metrics()) {
      fidelity.metrics.push_back(MetricFromProto(metric));
    }
    fidelity.cost = CostFromProto(in.has_cost(), in.cost());
  }
  if (proto.workers() != 0) config.workers = proto.workers();
  config.restrict_space = proto.restrict();
  return config;
}

}  // namespace hwnas

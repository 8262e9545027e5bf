#include "controller/rpc/transfers.h"

#include <algorithm>

namespace hwnas::controller {

void Transfers::Tick() {
  const absl::Time now = clock_->Steady();
  MutexLock lock(&mutex_);
  for (Transfer* const transfer : all_) {
    if (now - transfer->begin_ > limits_.timeout ||
        now - transfer->moved_ > limits_.idle_timeout) {
      transfer->context_->TryCancel();
    }
  }
}

Transfer::Transfer(Transfers* transfers, grpc::ServerContext* context)
    : transfers_(transfers),
      context_(context),
      caller_(transfers->access_->CallerOf(*context)),
      begin_(transfers->clock_->Steady()),
      moved_(begin_),
      hold_(transfers->access_->CutWhenInvalid(
          caller_, [context](const absl::Status&) { context->TryCancel(); })) {
  MutexLock lock(&transfers_->mutex_);
  const auto& all = transfers_->all_;
  fits_ = all.size() < static_cast<size_t>(transfers_->limits_.max_transfers);
  caller_fits_ =
      !caller_ ||
      std::count_if(all.begin(), all.end(), [this](const Transfer* other) {
        return other->caller_->identity == caller_->identity;
      }) < transfers_->limits_.max_of_caller;
  place_ = transfers_->all_.insert(transfers_->all_.end(), this);
}

Transfer::~Transfer() {
  MutexLock lock(&transfers_->mutex_);
  transfers_->all_.erase(place_);
}

absl::Status Transfer::Check() const {
  if (!fits_) {
    return absl::ResourceExhaustedError(
        "too many transfers at once: try again later");
  }
  if (!caller_fits_) {
    return absl::ResourceExhaustedError(
        "too many transfers of yours at once: try again later");
  }
  return absl::OkStatus();
}

void Transfer::Moved() {
  MutexLock lock(&transfers_->mutex_);
  moved_ = transfers_->clock_->Steady();
}

}  // namespace hwnas::controller

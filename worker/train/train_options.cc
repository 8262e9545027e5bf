#include "worker/train/train_options.h"

#include <cmath>

#include "absl/strings/str_cat.h"

namespace hwnas::worker {
namespace {

// Collects the first complaint, so that the list below reads as a table.
class Checker {
 public:
  void Expect(bool good, absl::string_view field, double value,
              absl::string_view expected) {
    if (good || !status_.ok()) return;
    status_ = absl::InvalidArgumentError(
        absl::StrCat("train.", field, " is ", value, ": expected ", expected));
  }
  const absl::Status& status() const { return status_; }

 private:
  absl::Status status_;
};

}  // namespace

absl::StatusOr<TrainOptions> ResolveTrainSpec(const v1::TrainSpec& spec,
                                              const TensorShape& image,
                                              uint64_t seed) {
  TrainOptions options;
  options.seed = seed;
  if (spec.epochs() != 0) options.epochs = spec.epochs();
  if (spec.batch() != 0) options.batch = spec.batch();
  if (spec.has_data_fraction()) options.data_fraction = spec.data_fraction();
  if (spec.has_validation_fraction()) {
    options.validation_fraction = spec.validation_fraction();
  }
  if (spec.has_learning_rate()) options.learning_rate = spec.learning_rate();
  if (spec.has_momentum()) options.momentum = spec.momentum();
  if (spec.has_weight_decay()) options.weight_decay = spec.weight_decay();
  if (spec.has_label_smoothing()) {
    options.label_smoothing = spec.label_smoothing();
  }
  options.warmup_epochs =
      spec.has_warmup_epochs() ? spec.warmup_epochs() : 0.05 * options.epochs;
  if (spec.has_augment()) options.augment = spec.augment();
  options.crop_padding =
      spec.has_crop_padding() ? spec.crop_padding() : image.height / 8;
  options.cutout = spec.cutout();
  options.threads = spec.threads();

  Checker check;
  // Written so that NaN is refused.
  check.Expect(options.epochs >= 1 && options.epochs <= 10000, "epochs",
               options.epochs, "1 to 10000");
  check.Expect(options.batch >= 1 && options.batch <= 65536, "batch",
               options.batch, "1 to 65536");
  check.Expect(options.data_fraction > 0 && options.data_fraction <= 1,
               "data_fraction", options.data_fraction,
               "more than 0, at most 1");
  check.Expect(
      options.validation_fraction > 0 && options.validation_fraction <= 0.9,
      "validation_fraction", options.validation_fraction,
      "more than 0, at most 0.9");
  check.Expect(
      options.learning_rate > 0 && std::isfinite(options.learning_rate),
      "learning_rate", options.learning_rate, "a positive number");
  check.Expect(options.momentum >= 0 && options.momentum < 1, "momentum",
               options.momentum, "at least 0, less than 1");
  check.Expect(options.weight_decay >= 0 && std::isfinite(options.weight_decay),
               "weight_decay", options.weight_decay, "at least 0");
  check.Expect(options.label_smoothing >= 0 && options.label_smoothing < 1,
               "label_smoothing", options.label_smoothing,
               "at least 0, less than 1");
  check.Expect(
      options.warmup_epochs >= 0 && options.warmup_epochs <= options.epochs,
      "warmup_epochs", options.warmup_epochs,
      "at least 0, at most train.epochs");
  check.Expect(
      options.crop_padding >= 0 && options.crop_padding <= image.height,
      "crop_padding", options.crop_padding,
      "at least 0, at most the image's height");
  check.Expect(options.cutout >= 0 && options.cutout <= 2 * image.height,
               "cutout", options.cutout,
               "at least 0, at most twice the image's height");
  check.Expect(options.threads >= 0 && options.threads <= 1024, "threads",
               options.threads, "0 to 1024");
  if (!check.status().ok()) return check.status();
  return options;
}

}  // namespace hwnas::worker

#include "agent/device/power/nvml.h"

#include <dlfcn.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "agent/device/power/sensor_files.h"
#include "common/status_macros.h"

namespace hwnas::agent {
namespace {

constexpr unsigned int kMaxCards = 64;
// The library refreshes its values this often.
constexpr absl::Duration kInterval = absl::Milliseconds(100);
// From Ampere on the power is a mean over a second.
constexpr absl::Duration kPowerAveraging = absl::Seconds(1);
constexpr absl::Duration kCounterAveraging = absl::Milliseconds(100);

// The part of the library that we use. Its interface is documented and stable:
// functions of C that return 0 for success, cards as opaque pointers.
struct Functions {
  int (*init)() = nullptr;
  int (*shut_down)() = nullptr;
  int (*count)(unsigned int*) = nullptr;
  int (*card)(unsigned int, void**) = nullptr;
  int (*power_mw)(void*, unsigned int*) = nullptr;
  int (*energy_mj)(void*, unsigned long long*) = nullptr;
};

// Loaded and initialised; undone when destroyed.
class Library {
 public:
  static absl::StatusOr<std::unique_ptr<Library>> Load(
      const std::string& name) {
    std::unique_ptr<Library> library(new Library());
    library->handle_ = dlopen(name.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (library->handle_ == nullptr) {
      return absl::NotFoundError(absl::StrCat(name, " cannot be loaded"));
    }
    Functions& f = library->functions_;
    const bool complete =
        library->Find("nvmlInit_v2", &f.init) &&
        library->Find("nvmlShutdown", &f.shut_down) &&
        library->Find("nvmlDeviceGetCount_v2", &f.count) &&
        library->Find("nvmlDeviceGetHandleByIndex_v2", &f.card) &&
        library->Find("nvmlDeviceGetPowerUsage", &f.power_mw);
    if (!complete) {
      return absl::NotFoundError(
          absl::StrCat(name, " lacks a function that we need"));
    }
    library->Find("nvmlDeviceGetTotalEnergyConsumption", &f.energy_mj);
    if (const int error = f.init(); error != 0) {
      return absl::NotFoundError(
          absl::StrCat("nvmlInit_v2 failed with error ", error));
    }
    library->initialised_ = true;
    return library;
  }
  ~Library() {
    if (initialised_) functions_.shut_down();
    if (handle_ != nullptr) dlclose(handle_);
  }
  const Functions& functions() const { return functions_; }

 private:
  Library() = default;

  template <typename Function>
  bool Find(const char* name, Function* function) {
    *function = reinterpret_cast<Function>(dlsym(handle_, name));
    return *function != nullptr;
  }

  void* handle_ = nullptr;
  bool initialised_ = false;
  Functions functions_;
};

class Nvml final : public PowerSource {
 public:
  Nvml(std::unique_ptr<Library> library, std::vector<void*> cards,
       SteadyClock* clock)
      : library_(std::move(library)), cards_(std::move(cards)), clock_(clock) {
    // A counter that stands at zero counts nothing.
    const auto total = Sum(library_->functions().energy_mj);
    counts_ = total.ok() && *total > 0;
    info_ = {.name = "nvml",
             .includes = absl::StrCat(
                 cards_.size(),
                 cards_.size() == 1 ? " graphics card" : " graphics cards",
                 "; not the processor"),
             .interval = kInterval,
             .averaging = counts_ ? kCounterAveraging : kPowerAveraging};
  }

  const PowerSourceInfo& info() const override { return info_; }

  absl::StatusOr<PowerReading> Read() override {
    const absl::Duration begin = clock_->Now();
    PowerReading reading;
    if (counts_) {
      HWNAS_ASSIGN_OR_RETURN(const double millijoules,
                             Sum(library_->functions().energy_mj));
      reading.energy_j = millijoules / 1e3;
      // The driver was loaded anew.
      reading.broken = *reading.energy_j < last_j_;
      last_j_ = *reading.energy_j;
    } else {
      HWNAS_ASSIGN_OR_RETURN(const double milliwatts,
                             Sum(library_->functions().power_mw));
      reading.power_w = milliwatts / 1e3;
    }
    reading.time = begin + (clock_->Now() - begin) / 2;
    return reading;
  }

 private:
  template <typename Value>
  absl::StatusOr<double> Sum(int (*read)(void*, Value*)) const {
    if (read == nullptr) return absl::NotFoundError("no such function");
    double sum = 0;
    for (size_t i = 0; i < cards_.size(); ++i) {
      Value value = 0;
      if (const int error = read(cards_[i], &value); error != 0) {
        return absl::UnavailableError(absl::StrCat(
            "graphics card ", i, " tells no power: error ", error));
      }
      sum += static_cast<double>(value);
    }
    return sum;
  }

  const std::unique_ptr<Library> library_;
  const std::vector<void*> cards_;
  SteadyClock* const clock_;
  bool counts_ = false;
  double last_j_ = 0;
  PowerSourceInfo info_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<PowerSource>> FindNvml(
    SteadyClock* clock, const std::string& library_name) {
  HWNAS_ASSIGN_OR_RETURN(std::unique_ptr<Library> library,
                         Library::Load(library_name));
  const Functions& functions = library->functions();
  unsigned int count = 0;
  if (const int error = functions.count(&count); error != 0 || count == 0) {
    return absl::NotFoundError("there is no graphics card");
  }
  std::vector<void*> cards;
  for (unsigned int i = 0; i < std::min(count, kMaxCards); ++i) {
    void* card = nullptr;
    if (const int error = functions.card(i, &card);
        error != 0 || card == nullptr) {
      return absl::UnavailableError(
          absl::StrCat("graphics card ", i, " cannot be used: error ", error));
    }
    cards.push_back(card);
  }
  auto source =
      std::make_unique<Nvml>(std::move(library), std::move(cards), clock);
  HWNAS_ASSIGN_OR_RETURN(const PowerReading reading, source->Read());
  if (reading.power_w && !(*reading.power_w > 0)) {
    return absl::UnavailableError("the graphics cards tell 0 W");
  }
  return source;
}

}  // namespace hwnas::agent

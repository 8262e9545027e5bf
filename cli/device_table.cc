#include "cli/device_table.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "cli/diagnostic.h"
#include "cli/trial_table.h"
#include "proto/convert/convert.h"

namespace hwnas::cli {
namespace {

constexpr int kShownAnchors = 8;

std::string Ago(const google::protobuf::Timestamp& time, absl::Time now) {
  if (time.seconds() == 0) return "";
  return absl::StrCat(FormatSeconds(std::max(
                          0.0, absl::ToDoubleSeconds(now - FromProto(time)))),
                      " ago");
}

nlohmann::ordered_json Names(
    const google::protobuf::RepeatedPtrField<std::string>& names) {
  return std::vector<std::string>(names.begin(), names.end());
}

// "+1.2 %" of the last anchor.
Cell Drift(const v1::Device& device) {
  const auto& anchors = device.health().anchors();
  if (anchors.empty()) return {"", nullptr};
  const v1::AnchorRecord& last = *anchors.rbegin();
  return {absl::StrFormat("%+.1f %%%s", 100 * (last.ratio() - 1),
                          last.good() ? "" : " bad"),
          last.ratio()};
}

Cell Temperature(const v1::Device& device) {
  const v1::Environment& environment = device.executor().environment();
  if (!environment.has_temperature_c()) return {"", nullptr};
  return {absl::StrFormat("%.0f", environment.temperature_c()),
          environment.temperature_c()};
}

Cell FailureRate(const v1::Device& device) {
  if (!device.health().has_failure_rate()) return {"", nullptr};
  return {absl::StrFormat("%.0f %%", 100 * device.health().failure_rate()),
          device.health().failure_rate()};
}

std::string Reserved(const v1::Device& device) {
  if (!device.has_reservation()) return "";
  return absl::StrCat(Printable(device.reservation().user()), " until ",
                      FormatTime(device.reservation().expire_time()));
}

// "onnxruntime (fp32, int8)".
std::string Runtimes(const v1::Device& device) {
  std::vector<std::string> texts;
  for (const std::string& runtime : device.runtimes()) {
    std::string text = Printable(runtime);
    for (const v1::RuntimeCapability& c : device.executor().capabilities()) {
      if (c.runtime() == runtime) {
        absl::StrAppend(&text, " (", absl::StrJoin(c.precisions(), ", "), ")");
      }
    }
    texts.push_back(std::move(text));
  }
  return absl::StrJoin(texts, ", ");
}

void Line(std::string* text, absl::string_view name, const std::string& value) {
  if (value.empty()) return;
  absl::StrAppend(text, "  ", absl::StrFormat("%-14s", name), value, "\n");
}

}  // namespace

std::string ExecutorStateName(v1::Executor::State state) {
  switch (state) {
    case v1::Executor::CONNECTED:
      return "connected";
    case v1::Executor::LOST:
      return "lost";
    case v1::Executor::DRAINING:
      return "draining";
    case v1::Executor::QUARANTINED:
      return "quarantined";
    default:
      return "unknown";
  }
}

Table DeviceTable(absl::Span<const v1::Device> devices, absl::Time now) {
  Table table({{"name", "name"},
               {"state", "state"},
               {"device_classes", "classes"},
               {"runtimes", "runtimes"},
               {"labels", "labels"},
               {"power", "power"},
               {"busy", "busy"},
               {"reserved_for", "reserved"},
               {"temperature_c", "temp [C]", true},
               {"anchor_ratio", "anchor", true},
               {"finished", "finished", true},
               {"failed", "failed", true, false, true},
               {"failure_rate", "failures", true},
               {"cpu", "processor", false, false, true},
               {"cores", "cores", true, false, true},
               {"host", "host", false, false, true},
               {"runtime", "runtime", false, false, true},
               {"os", "os", false, false, true},
               {"last_seen", "last seen"},
               {"note", "note"}});
  for (const v1::Device& device : devices) {
    const v1::Executor& executor = device.executor();
    const v1::Environment& environment = executor.environment();
    const bool busy = executor.busy_slots() > 0;
    table.Add(
        {device.name(),
         ExecutorStateName(executor.state()),
         {absl::StrJoin(device.device_classes(), ", "),
          Names(device.device_classes())},
         {absl::StrJoin(device.runtimes(), ", "), Names(device.runtimes())},
         {absl::StrJoin(executor.labels(), ", "), Names(executor.labels())},
         executor.power().name(),
         Cell::Flag(busy),
         device.has_reservation()
             ? Cell(Reserved(device), device.reservation().user())
             : Cell("", nullptr),
         Temperature(device),
         Drift(device),
         Cell::Integer(executor.finished_count()),
         Cell::Integer(executor.failed_count()),
         FailureRate(device),
         environment.cpu_model(),
         Cell::Integer(environment.logical_cores()),
         environment.host(),
         environment.runtime(),
         environment.os(),
         {Ago(executor.last_seen_time(), now),
          FormatTime(executor.last_seen_time())},
         executor.quarantine_reason()});
  }
  return table;
}

std::string DeviceText(const v1::Device& device, absl::Time now) {
  const v1::Executor& executor = device.executor();
  const v1::Environment& e = executor.environment();
  const v1::DeviceHealth& health = device.health();
  std::string text = absl::StrCat(
      Printable(device.name()), ": ", ExecutorStateName(executor.state()),
      executor.busy_slots() > 0 ? ", busy" : "", "\n");
  Line(&text, "reason", Printable(executor.quarantine_reason(), 1000));
  Line(&text, "reserved for",
       device.has_reservation()
           ? absl::StrCat(Reserved(device),
                          device.reservation().note().empty() ? "" : ": ",
                          Printable(device.reservation().note()))
           : "");
  Line(&text, "classes", absl::StrJoin(device.device_classes(), ", "));
  Line(&text, "labels", absl::StrJoin(executor.labels(), ", "));
  Line(&text, "runtimes", Runtimes(device));
  Line(&text, "profiles", absl::StrJoin(executor.profiles(), ", "));
  Line(&text, "power",
       executor.power().name().empty()
           ? absl::StrCat("none: ", Printable(executor.power().why_none(), 400))
           : absl::StrCat(Printable(executor.power().name()), ", ",
                          Printable(executor.power().includes())));
  Line(&text, "processor",
       absl::StrCat(Printable(e.cpu_model()), ", ", e.logical_cores(), " cores",
                    e.cpu_governor().empty() ? "" : ", governor ",
                    Printable(e.cpu_governor())));
  Line(&text, "host", Printable(e.host()));
  Line(&text, "system", Printable(e.os()));
  Line(&text, "hwnas", Printable(e.hwnas_version()));
  Line(&text, "temperature",
       e.has_temperature_c() ? absl::StrFormat("%.1f C", e.temperature_c())
                             : "");
  Line(&text, "load",
       e.has_load_average() ? absl::StrFormat("%.2f", e.load_average()) : "");
  Line(&text, "last seen", Ago(executor.last_seen_time(), now));
  Line(&text, "work",
       absl::StrCat(executor.finished_count(), " finished, ",
                    executor.failed_count(), " failed",
                    health.has_failure_rate()
                        ? absl::StrFormat(", %.0f %% of the latest failed",
                                          100 * health.failure_rate())
                        : ""));
  Line(&text, "taken back",
       health.invalidated_count() > 0
           ? absl::StrCat(health.invalidated_count(), " measurements")
           : "");
  if (!health.anchors().empty()) {
    Table anchors({{"time", "anchor at"},
                   {"latency_ms", "latency [ms]", true},
                   {"ratio", "of its own", true},
                   {"good", ""},
                   {"flags", ""}});
    for (int i = std::max(0, health.anchors_size() - kShownAnchors);
         i < health.anchors_size(); ++i) {
      const v1::AnchorRecord& anchor = health.anchors(i);
      anchors.Add({FormatTime(anchor.time()), Cell::Number(anchor.latency_ms()),
                   absl::StrFormat("%.3f", anchor.ratio()),
                   anchor.good() ? "good" : "bad",
                   Printable(absl::StrJoin(anchor.flags(), "; "), 200)});
    }
    absl::StrAppend(&text, "\n", anchors.ToText());
  }
  if (!health.cross_checks().empty()) {
    Table checks({{"time", "cross-check at"},
                  {"other", "with"},
                  {"ratio", "of its latency", true}});
    for (int i = std::max(0, health.cross_checks_size() - kShownAnchors);
         i < health.cross_checks_size(); ++i) {
      const v1::CrossCheckRecord& check = health.cross_checks(i);
      checks.Add({FormatTime(check.time()), Printable(check.other_device()),
                  absl::StrFormat("%.3f", check.ratio())});
    }
    absl::StrAppend(&text, "\n", checks.ToText());
  }
  return text;
}

}  // namespace hwnas::cli

// The manifests say what they mean: they parse, their references lead
// somewhere, their flags and metrics exist, and no container may do more than
// it must. No cluster is asked.
#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/deploy/program_flags.h"
#include "yaml-cpp/yaml.h"

namespace hwnas {
namespace {

namespace fs = std::filesystem;
using ::testing::AnyOf;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using ::testing::UnorderedElementsAreArray;

using Labels = std::map<std::string, std::string>;

const std::string& Root() {
  static const auto& root =
      *new std::string(absl::StrCat(HWNAS_SOURCE_DIR, "/deploy/kubernetes"));
  return root;
}

struct Workload {
  std::string kind;
  std::string name;
  Labels labels;  // Of its pods.
  YAML::Node selector;
  YAML::Node pod;  // Its spec.
};

// What is there, however deep; undefined if there is nothing.
YAML::Node At(const YAML::Node& node, std::initializer_list<const char*> path) {
  YAML::Node at = node;
  for (const char* key : path) {
    const YAML::Node next = at.IsMap() ? std::as_const(at)[key]
                                       : YAML::Node(YAML::NodeType::Undefined);
    if (!next.IsDefined()) return YAML::Node(YAML::NodeType::Undefined);
    at.reset(next);
  }
  return at;
}

std::string Text(const YAML::Node& node) {
  return node.IsDefined() && node.IsScalar() ? node.as<std::string>() : "";
}

Labels LabelsOf(const YAML::Node& node) {
  return node.IsDefined() ? node.as<Labels>() : Labels();
}

bool Matches(const YAML::Node& selector, const Labels& labels) {
  for (const auto& [key, value] : LabelsOf(selector["matchLabels"])) {
    const auto it = labels.find(key);
    if (it == labels.end() || it->second != value) return false;
  }
  for (const YAML::Node& rule : selector["matchExpressions"]) {
    const auto it = labels.find(Text(rule["key"]));
    const auto values = rule["values"].as<std::vector<std::string>>();
    if (Text(rule["operator"]) != "In" || it == labels.end() ||
        std::find(values.begin(), values.end(), it->second) == values.end()) {
      return false;
    }
  }
  return true;
}

class KubernetesTest : public testing::Test {
 protected:
  void SetUp() override {
    for (const auto& file : fs::recursive_directory_iterator(Root())) {
      if (file.path().extension() != ".yaml") continue;
      const std::string name = fs::relative(file.path(), Root());
      for (const YAML::Node& document :
           YAML::LoadAllFromFile(file.path().string())) {
        ASSERT_TRUE(document["kind"].IsDefined()) << name;
        ASSERT_TRUE(document["apiVersion"].IsDefined()) << name;
        Add(document, name);
      }
    }
    ASSERT_THAT(workloads_, SizeIs(4));
  }

  void Add(const YAML::Node& document, const std::string& file) {
    const std::string kind = Text(document["kind"]);
    by_kind_[kind].push_back(document);
    if (kind == "Kustomization") return;
    if (kind != "Namespace" && kind != "ClusterRoleBinding") {
      EXPECT_EQ(Text(At(document, {"metadata", "namespace"})), "hwnas") << file;
    }
    const YAML::Node spec = At(document, {"spec", "template", "spec"});
    if (!spec.IsDefined()) return;
    workloads_.push_back(
        {.kind = kind,
         .name = Text(At(document, {"metadata", "name"})),
         .labels =
             LabelsOf(At(document, {"spec", "template", "metadata", "labels"})),
         .selector = At(document, {"spec", "selector"}),
         .pod = spec});
  }

  int Matching(const YAML::Node& selector) const {
    int count = 0;
    for (const Workload& workload : workloads_) {
      count += Matches(selector, workload.labels);
    }
    return count;
  }

  static std::vector<YAML::Node> Containers(const YAML::Node& pod) {
    std::vector<YAML::Node> containers;
    for (const char* list : {"initContainers", "containers"}) {
      for (const YAML::Node& container : pod[list]) {
        containers.push_back(container);
      }
    }
    return containers;
  }

  std::map<std::string, std::vector<YAML::Node>> by_kind_;
  std::vector<Workload> workloads_;
};

TEST_F(KubernetesTest, NamesEveryFileThatThereIs) {
  for (const char* folder : {"/base", "/autoscale"}) {
    const YAML::Node kustomization =
        YAML::LoadFile(absl::StrCat(Root(), folder, "/kustomization.yaml"));
    std::set<std::string> named;
    for (const YAML::Node& resource : kustomization["resources"]) {
      named.insert(Text(resource));
    }
    named.erase("../base");
    std::set<std::string> there;
    for (const auto& file : fs::directory_iterator(Root() + folder)) {
      if (file.is_directory() || file.path().filename() == "kustomization.yaml")
        continue;
      there.insert(file.path().filename());
    }
    EXPECT_THAT(named, UnorderedElementsAreArray(there)) << folder;
  }
}

TEST_F(KubernetesTest, SelectorsFindPods) {
  for (const Workload& workload : workloads_) {
    EXPECT_TRUE(Matches(workload.selector, workload.labels)) << workload.name;
    EXPECT_EQ(Matching(workload.selector), 1) << workload.name;
  }
  for (const YAML::Node& service : by_kind_["Service"]) {
    YAML::Node selector;
    selector["matchLabels"] = At(service, {"spec", "selector"});
    EXPECT_EQ(Matching(selector), 1) << Text(At(service, {"metadata", "name"}));
  }
  for (const char* kind : {"PodDisruptionBudget", "NetworkPolicy"}) {
    ASSERT_THAT(by_kind_[kind], testing::Not(IsEmpty()));
    for (const YAML::Node& object : by_kind_[kind]) {
      const YAML::Node spec = object["spec"];
      EXPECT_GE(Matching(spec[*kind == 'N' ? "podSelector" : "selector"]), 1)
          << Text(At(object, {"metadata", "name"}));
      for (const char* direction : {"ingress", "egress"}) {
        for (const YAML::Node& rule : spec[direction]) {
          for (const char* peers : {"from", "to"}) {
            for (const YAML::Node& peer : rule[peers]) {
              if (!peer["podSelector"].IsDefined()) continue;
              EXPECT_EQ(Matching(peer["podSelector"]), 1);
            }
          }
        }
      }
    }
  }
}

TEST_F(KubernetesTest, PortsAreThoseOfContainers) {
  std::map<std::string, std::set<std::string>>
      ports;  // By app: names, numbers.
  for (const Workload& workload : workloads_) {
    for (const YAML::Node& container : workload.pod["containers"]) {
      for (const YAML::Node& port : container["ports"]) {
        for (const char* key : {"name", "containerPort"}) {
          ports[workload.labels.at("app")].insert(Text(port[key]));
        }
      }
    }
  }
  for (const YAML::Node& service : by_kind_["Service"]) {
    const std::string app = Text(At(service, {"spec", "selector", "app"}));
    for (const YAML::Node& port : At(service, {"spec", "ports"})) {
      EXPECT_THAT(ports[app], Contains(Text(port["targetPort"])));
    }
  }
  for (const Workload& workload : workloads_) {
    for (const YAML::Node& container : workload.pod["containers"]) {
      EXPECT_TRUE(container["livenessProbe"].IsDefined()) << workload.name;
      for (const char* kind :
           {"startupProbe", "readinessProbe", "livenessProbe"}) {
        const YAML::Node probe = container[kind];
        for (const char* way : {"grpc", "httpGet"}) {
          if (!probe.IsDefined() || !probe[way].IsDefined()) continue;
          EXPECT_THAT(ports[workload.labels.at("app")],
                      Contains(Text(At(probe, {way, "port"}))));
        }
        if (!probe.IsDefined() || !probe["grpc"].IsDefined()) continue;
        EXPECT_THAT(Text(At(probe, {"grpc", "service"})), AnyOf("", "live"));
      }
    }
  }
  // What a policy lets in or out is a port of the pods it is about.
  for (const YAML::Node& policy : by_kind_["NetworkPolicy"]) {
    const std::string app =
        Text(At(policy, {"spec", "podSelector", "matchLabels", "app"}));
    for (const YAML::Node& rule : At(policy, {"spec", "ingress"})) {
      for (const YAML::Node& port : rule["ports"]) {
        EXPECT_THAT(ports[app], Contains(Text(port["port"])));
      }
    }
    for (const YAML::Node& rule : At(policy, {"spec", "egress"})) {
      for (const YAML::Node& peer : rule["to"]) {
        const std::string to =
            Text(At(peer, {"podSelector", "matchLabels", "app"}));
        if (to.empty()) continue;
        for (const YAML::Node& port : rule["ports"]) {
          EXPECT_THAT(ports[to], Contains(Text(port["port"])));
        }
      }
    }
  }
}

TEST_F(KubernetesTest, VolumesSecretsAndClaimsExist) {
  const std::string page = SourceFile("docs/kubernetes.md");
  std::set<std::string> claims;
  for (const YAML::Node& claim : by_kind_["PersistentVolumeClaim"]) {
    claims.insert(Text(At(claim, {"metadata", "name"})));
  }
  for (const Workload& workload : workloads_) {
    std::set<std::string> volumes;
    if (workload.kind == "StatefulSet") volumes.insert("data");
    for (const YAML::Node& volume : workload.pod["volumes"]) {
      volumes.insert(Text(volume["name"]));
      if (const YAML::Node secret = volume["secret"]; secret.IsDefined()) {
        EXPECT_THAT(page, HasSubstr(absl::StrCat("create secret generic ",
                                                 Text(secret["secretName"]))));
        for (const YAML::Node& item : secret["items"]) {
          EXPECT_THAT(page, HasSubstr(absl::StrCat(
                                "--from-file=", Text(item["key"]), "=")));
        }
      }
      if (const YAML::Node claim = volume["persistentVolumeClaim"];
          claim.IsDefined()) {
        EXPECT_THAT(claims, Contains(Text(claim["claimName"])));
      }
    }
    for (const YAML::Node& container : Containers(workload.pod)) {
      for (const YAML::Node& mount : container["volumeMounts"]) {
        EXPECT_THAT(volumes, Contains(Text(mount["name"]))) << workload.name;
      }
    }
  }
}

TEST_F(KubernetesTest, ProgramsHaveTheFlagsThatTheyAreGiven) {
  int checked = 0;
  std::set<std::string> services;
  for (const YAML::Node& service : by_kind_["Service"]) {
    services.insert(Text(At(service, {"metadata", "name"})));
  }
  for (const Workload& workload : workloads_) {
    for (const YAML::Node& container : workload.pod["containers"]) {
      const YAML::Node command = container["command"];
      if (!command.IsDefined()) continue;
      const std::string program = Text(command[0]);
      EXPECT_EQ(Text(container["image"]), program);
      const std::set<std::string> known = FlagsOf(program);
      for (size_t i = 1; i < command.size(); ++i) {
        const std::vector<std::string> flag =
            absl::StrSplit(Text(command[i]).substr(2), absl::MaxSplits('=', 1));
        EXPECT_THAT(known, Contains(flag[0])) << program;
        if (flag[0] == "controller") {
          EXPECT_THAT(services, Contains(flag[1].substr(0, flag[1].find(':'))));
        }
        ++checked;
      }
    }
  }
  EXPECT_GE(checked, 20);
}

TEST_F(KubernetesTest, ContainersMayDoNoMoreThanTheyMust) {
  for (const Workload& workload : workloads_) {
    const YAML::Node security = workload.pod["securityContext"];
    EXPECT_EQ(Text(security["runAsNonRoot"]), "true") << workload.name;
    EXPECT_GT(security["runAsUser"].as<int>(), 0) << workload.name;
    EXPECT_EQ(Text(At(security, {"seccompProfile", "type"})), "RuntimeDefault");
    EXPECT_EQ(Text(workload.pod["automountServiceAccountToken"]), "false");
    for (const YAML::Node& container : Containers(workload.pod)) {
      const YAML::Node confined = container["securityContext"];
      EXPECT_EQ(Text(confined["allowPrivilegeEscalation"]), "false");
      EXPECT_EQ(Text(confined["readOnlyRootFilesystem"]), "true");
      EXPECT_EQ(Text(confined["capabilities"]["drop"][0]), "ALL");
    }
    for (const YAML::Node& container : workload.pod["containers"]) {
      EXPECT_TRUE(
          At(container, {"resources", "requests", "memory"}).IsDefined());
      EXPECT_TRUE(At(container, {"resources", "limits", "memory"}).IsDefined());
    }
  }
}

// The controller appends to what the init container copies, as no secret's file
// lets it.
TEST_F(KubernetesTest, SeedsAnAuthorityThatCanBeWritten) {
  const auto controller = std::find_if(
      workloads_.begin(), workloads_.end(), [](const Workload& workload) {
        return workload.name == "hwnas-controller";
      });
  ASSERT_NE(controller, workloads_.end());
  const YAML::Node command = controller->pod["initContainers"][0]["command"];
  ASSERT_EQ(Text(command[0]), "sh");
  ASSERT_EQ(Text(command[1]), "-ec");
  const fs::path dir = fs::path(::testing::TempDir()) / "authority_seed";
  fs::remove_all(dir);
  fs::create_directories(dir / "secret");
  const char* const files[] = {"ca.pem", "ca.key", "crl.pem", "identity.pem",
                               "issued"};
  for (const char* file : files) {
    std::ofstream(dir / "secret" / file) << file;
    fs::permissions(dir / "secret" / file,
                    fs::perms::owner_read | fs::perms::group_read);
  }
  const std::string script = absl::StrReplaceAll(
      Text(command[2]), {{"/etc/hwnas/authority", (dir / "secret").string()},
                         {"/var/lib/hwnas", (dir / "store").string()}});
  std::ofstream(dir / "script") << script;
  const std::string run = absl::StrCat("sh -e ", (dir / "script").string());
  // A pod that starts again keeps what has grown meanwhile.
  for (const char* issued : {"issued", "issued and more"}) {
    ASSERT_EQ(std::system(run.c_str()), 0);  // NOLINT(cert-env33-c)
    const fs::path tls = dir / "store" / "tls";
    EXPECT_TRUE(fs::is_directory(tls / "tokens"));
    for (const char* file : files) {
      EXPECT_EQ(fs::status(tls / file).permissions(),
                fs::perms::owner_read | fs::perms::owner_write)
          << file;
    }
    std::ifstream in(tls / "issued");
    const std::string text{std::istreambuf_iterator<char>(in), {}};
    EXPECT_EQ(text, issued);
    std::ofstream(tls / "issued", std::ios::app) << " and more";
  }
}

TEST_F(KubernetesTest, ScalesAWorkloadOnMetricsThatExist) {
  ASSERT_THAT(by_kind_["ScaledObject"], SizeIs(1));
  const YAML::Node spec = by_kind_["ScaledObject"][0]["spec"];
  const std::string target = Text(At(spec, {"scaleTargetRef", "name"}));
  EXPECT_TRUE(std::any_of(
      workloads_.begin(), workloads_.end(), [&](const Workload& workload) {
        return workload.name == target && workload.kind == "Deployment";
      }));
  const std::string query = Text(spec["triggers"][0]["metadata"]["query"]);
  const std::string code = SourceFile("controller/controller_metrics.cc");
  int metrics = 0;
  for (size_t at = query.find("hwnas_"); at != std::string::npos;
       at = query.find("hwnas_", at + 1), ++metrics) {
    const std::string name = query.substr(at, query.find('{', at) - at);
    EXPECT_THAT(code, HasSubstr(absl::StrCat("\"", name, "\"")));
  }
  EXPECT_EQ(metrics, 2);
}

}  // namespace
}  // namespace hwnas

// hwnas ca init, token, enroll, issue, revoke, list
#include <cstdlib>
#include <iostream>
#include <iterator>
#include <memory>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "cli/commands.h"
#include "common/address.h"
#include "common/files.h"
#include "common/secret_files.h"
#include "common/status_macros.h"
#include "security/authority.h"
#include "security/credentials.h"
#include "security/enrolment.h"

namespace hwnas::cli {
namespace {

using security::Authority;
using security::Certificate;
using security::Identity;
using security::kTokenVariable;
using security::Role;

constexpr absl::Duration kDefaultLifetime = absl::Hours(24 * 7);

std::string TimeText(absl::Time time) {
  return absl::FormatTime("%Y-%m-%d %H:%M UTC", time, absl::UTCTimeZone());
}

// The folder with the authority's key.
void AddAuthorityOption(CLI::App* command, std::string* dir) {
  command
      ->add_option("-d,--dir", *dir,
                   "Folder of the certificate authority, as given to 'ca init'")
      ->required()
      ->type_name("DIR");
}

void AddRoleOption(CLI::App* command, std::string* role) {
  command
      ->add_option("--role", *role,
                   "admin, researcher, viewer, worker or agent; "
                   "docs/security.md says what each may do")
      ->required()
      ->type_name("ROLE");
}

absl::StatusOr<Identity> IdentityFrom(const std::string& name,
                                      const std::string& role) {
  Identity identity = {.name = name};
  HWNAS_ASSIGN_OR_RETURN(identity.role, security::ParseRole(role));
  if (identity.role == Role::kController) {
    return absl::InvalidArgumentError(
        "'ca init' makes the controller's certificate; it renews it itself");
  }
  HWNAS_RETURN_IF_ERROR(CheckIdentity(identity));
  return identity;
}

absl::StatusOr<absl::Duration> DurationFrom(const std::string& option,
                                            const std::string& text,
                                            absl::Duration most) {
  absl::Duration duration;
  if (!absl::ParseDuration(text, &duration) || duration < absl::Seconds(1) ||
      duration > most) {
    return absl::InvalidArgumentError(
        absl::StrCat(option, " is \"", text,
                     "\": expected a time such as 90m, "
                     "1s to ",
                     absl::FormatDuration(most)));
  }
  return duration;
}

void AddInit(CLI::App* app, Context* context) {
  auto dir = std::make_shared<std::string>();
  CLI::App* command = app->add_subcommand(
      "init", "Make a certificate authority and the controller's certificate");
  command->add_option("dir", *dir, "New folder, for the controller's --tls_dir")
      ->required();
  SetExamples(command, {"hwnas ca init /etc/hwnas/tls"});
  SetAction(command, context, [=]() -> absl::Status {
    const absl::Time now = absl::Now();
    HWNAS_RETURN_IF_ERROR(Authority::Create(*dir, now));
    HWNAS_ASSIGN_OR_RETURN(const auto authority,
                           Authority::Open(*dir, kDefaultLifetime));
    HWNAS_RETURN_IF_ERROR(
        security::IssueInto(*dir, *authority, {Role::kController, "main"}, now)
            .status());
    *context->out << "certificate authority made in " << *dir
                  << "; keep ca.key secret\n";
    return absl::OkStatus();
  });
}

void AddToken(CLI::App* app, Context* context) {
  struct Options {
    std::string name, role, dir, out;
    std::string lifetime = "1h";
  };
  auto options = std::make_shared<Options>();
  CLI::App* command = app->add_subcommand(
      "token", "Make a secret with which one newcomer enrols, once");
  command
      ->add_option("name", options->name,
                   "Who it is: a user, or the id of a worker or an agent; "
                   "'slurm-*' is every id that begins so")
      ->required();
  AddRoleOption(command, &options->role);
  AddAuthorityOption(command, &options->dir);
  command
      ->add_option("--for", options->lifetime,
                   "How long it is good, 1s to 720h")
      ->capture_default_str();
  command
      ->add_option("--out", options->out,
                   "Write it to this file, for its owner only, and not to "
                   "standard output")
      ->type_name("FILE");
  SetExamples(command,
              {"hwnas ca token alice --role researcher -d /etc/hwnas/tls --out "
               "token",
               "hwnas ca token 'slurm-*' --role worker -d /etc/hwnas/tls"});
  SetAction(command, context, [=]() -> absl::Status {
    HWNAS_ASSIGN_OR_RETURN(const Identity identity,
                           IdentityFrom(options->name, options->role));
    HWNAS_ASSIGN_OR_RETURN(
        const absl::Duration lifetime,
        DurationFrom("--for", options->lifetime, absl::Hours(720)));
    HWNAS_ASSIGN_OR_RETURN(const auto authority,
                           Authority::Open(options->dir, kDefaultLifetime));
    HWNAS_ASSIGN_OR_RETURN(
        const security::Token token,
        authority->NewToken(identity, lifetime, absl::Now()));
    if (options->out.empty()) {
      *context->out << ToText(token) << "\n";
    } else {
      HWNAS_RETURN_IF_ERROR(
          WriteSecretFile(options->out, ToText(token) + "\n"));
    }
    *context->err << "hwnas: for " << ToText(identity) << ", until "
                  << TimeText(absl::Now() + lifetime)
                  << "; whoever has this line first is them\n";
    return absl::OkStatus();
  });
}

// From a file, standard input or the environment: what stands in a command line
// the whole machine can read.
absl::StatusOr<security::Token> ReadToken(const std::string& file) {
  std::string text;
  if (file == "-") {
    std::getline(std::cin, text);
  } else if (!file.empty()) {
    HWNAS_ASSIGN_OR_RETURN(text,
                           ReadSecretFile(file, 2 * security::kMaxPemBytes));
  } else if (const char* token =
                 std::getenv(kTokenVariable);  // NOLINT(concurrency-mt-unsafe)
             token != nullptr) {
    text = token;
  } else {
    return absl::InvalidArgumentError(absl::StrCat(
        "no token: give --token FILE, or put it into $", kTokenVariable));
  }
  return security::ParseToken(text);
}

void AddEnroll(CLI::App* app, Context* context) {
  struct Options {
    std::string dir, address, token;
  };
  auto options = std::make_shared<Options>();
  CLI::App* command = app->add_subcommand(
      "enroll", "Get a certificate with a token from 'ca token'");
  command
      ->add_option("dir", options->dir,
                   "Folder for it: the --tls_dir of worker and agent, "
                   "$HWNAS_TLS_DIR of this program")
      ->required();
  command
      ->add_option("--at", options->address,
                   "Where the controller enrols: its --enroll")
      ->required()
      ->type_name("HOST:PORT");
  command
      ->add_option("--token", options->token,
                   "File with the token; - is standard input. Without it "
                   "$HWNAS_ENROLL_TOKEN")
      ->type_name("FILE");
  SetExamples(command, {"hwnas ca enroll ~/.hwnas --at ctl:7421 --token -",
                        "hwnas ca enroll /etc/hwnas/tls --at ctl:7421 --token "
                        "token.txt"});
  SetAction(command, context, [=]() -> absl::Status {
    bool loopback = false;
    HWNAS_RETURN_IF_ERROR(CheckAddress("controller address", options->address,
                                       /*min_port=*/1, &loopback));
    HWNAS_ASSIGN_OR_RETURN(const security::Token token,
                           ReadToken(options->token));
    const absl::StatusOr<Certificate> mine =
        security::Enroll(token, options->address, options->dir);
    if (absl::IsUnavailable(mine.status())) {
      return absl::UnavailableError(
          absl::StrCat("no controller of that authority enrols at ",
                       options->address, " (", mine.status().message(), ")"));
    }
    HWNAS_RETURN_IF_ERROR(mine.status());
    *context->out << "enrolled as " << ToText(mine->identity) << " until "
                  << TimeText(mine->not_after) << "; " << options->dir
                  << " is renewed by itself when it is used\n";
    return absl::OkStatus();
  });
}

void AddIssue(CLI::App* app, Context* context) {
  struct Options {
    std::string name, role, dir, out;
    std::string lifetime = "168h";
  };
  auto options = std::make_shared<Options>();
  CLI::App* command = app->add_subcommand(
      "issue",
      "Make a certificate with its key here, to be carried over by hand");
  command->add_option("name", options->name, "Who it is for; see 'ca token'")
      ->required();
  AddRoleOption(command, &options->role);
  AddAuthorityOption(command, &options->dir);
  command->add_option("--out", options->out, "New folder for it")
      ->required()
      ->type_name("DIR");
  command
      ->add_option("--for", options->lifetime, "How long it is good, to 8760h")
      ->capture_default_str();
  SetExamples(command, {"hwnas ca issue prometheus --role viewer -d "
                        "/etc/hwnas/tls --out prometheus-tls"});
  SetAction(command, context, [=]() -> absl::Status {
    HWNAS_ASSIGN_OR_RETURN(const Identity identity,
                           IdentityFrom(options->name, options->role));
    HWNAS_ASSIGN_OR_RETURN(
        const absl::Duration lifetime,
        DurationFrom("--for", options->lifetime, absl::Hours(8760)));
    HWNAS_ASSIGN_OR_RETURN(const auto authority,
                           Authority::Open(options->dir, lifetime));
    HWNAS_ASSIGN_OR_RETURN(
        const Certificate made,
        security::IssueInto(options->out, *authority, identity, absl::Now()));
    *context->out << options->out << " is " << ToText(made.identity)
                  << " until " << TimeText(made.not_after) << "\n";
    return absl::OkStatus();
  });
}

// Of lines in the authority's record that cannot be read.
void Warn(const std::vector<std::string>& unreadable, const char* what_follows,
          Context* context) {
  for (const std::string& line : unreadable) {
    *context->err << "hwnas: warning: " << line << "; " << what_follows << "\n";
  }
}

void AddRevoke(CLI::App* app, Context* context) {
  struct Options {
    std::string who, dir;
  };
  auto options = std::make_shared<Options>();
  CLI::App* command = app->add_subcommand(
      "revoke",
      "End somebody's certificates and tokens; the controller cuts them off "
      "within a second");
  command
      ->add_option("who", options->who,
                   "As in the list: user/alice, worker/gpu-3; or only the name")
      ->required();
  AddAuthorityOption(command, &options->dir);
  SetExamples(command, {"hwnas ca revoke worker/gpu-3 -d /etc/hwnas/tls"});
  SetAction(command, context, [=]() -> absl::Status {
    HWNAS_ASSIGN_OR_RETURN(const auto authority,
                           Authority::Open(options->dir, kDefaultLifetime));
    std::vector<std::string> unreadable;
    const absl::StatusOr<int> count =
        authority->Revoke(options->who, absl::Now(), &unreadable);
    Warn(unreadable, "whoever it is about is not revoked", context);
    HWNAS_RETURN_IF_ERROR(count.status());
    *context->out << *count << " of " << options->who << " revoked\n";
    return absl::OkStatus();
  });
}

void AddCertificateList(CLI::App* app, Context* context) {
  auto dir = std::make_shared<std::string>();
  CLI::App* command =
      app->add_subcommand("list", "List certificates that have not expired");
  AddAuthorityOption(command, dir.get());
  AddOutputOption(command, context);
  SetExamples(command, {"hwnas ca list -d /etc/hwnas/tls"});
  SetAction(command, context, [=]() -> absl::Status {
    HWNAS_ASSIGN_OR_RETURN(const auto authority,
                           Authority::Open(*dir, kDefaultLifetime));
    std::vector<std::string> unreadable;
    const absl::StatusOr<std::vector<Authority::Issued>> all =
        authority->List(absl::Now(), &unreadable);
    Warn(unreadable, "left out", context);
    HWNAS_RETURN_IF_ERROR(all.status());
    Table table({{"who", "who"},
                 {"role", "role"},
                 {"expires", "expires"},
                 {"revoked", "revoked"},
                 {"serial", "serial"}});
    for (const Authority::Issued& one : *all) {
      const Certificate& certificate = one.certificate;
      table.Add({ToShortText(certificate.identity),
                 std::string(RoleName(certificate.identity.role)),
                 TimeText(certificate.not_after), Cell::Flag(one.revoked),
                 certificate.serial});
    }
    *context->out << table.Render(context->format());
    return absl::OkStatus();
  });
}

}  // namespace

void AddCaCommand(CLI::App* app, Context* context) {
  CLI::App* ca = app->add_subcommand(
      "ca", "Who may use a controller: certificates, tokens, revocation");
  ca->require_subcommand(1);
  SetExamples(ca, {"hwnas ca init /etc/hwnas/tls",
                   "hwnas ca token gpu-3 --role worker -d /etc/hwnas/tls",
                   "hwnas ca enroll tls --at ctl:7421 --token -"});
  AddInit(ca, context);
  AddToken(ca, context);
  AddEnroll(ca, context);
  AddIssue(ca, context);
  AddRevoke(ca, context);
  AddCertificateList(ca, context);
}

}  // namespace hwnas::cli

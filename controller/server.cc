#include "controller/server.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "common/address.h"
#include "common/clock.h"
#include "common/files.h"
#include "common/limits.h"
#include "common/metrics_server.h"
#include "common/mutex.h"
#include "common/status_macros.h"
#include "controller/controller_metrics.h"
#include "controller/health_server.h"
#include "controller/leadership.h"
#include "controller/rpc/acceptor.h"
#include "controller/rpc/access.h"
#include "controller/rpc/access_service.h"
#include "controller/rpc/device_service.h"
#include "controller/rpc/enroll_service.h"
#include "controller/rpc/fleet_service.h"
#include "controller/rpc/study_service.h"
#include "controller/rpc/trial_service.h"
#include "controller/standby_server.h"
#include "controller/study/study_engine.h"
#include "grpcpp/ext/proto_server_reflection_plugin.h"
#include "grpcpp/grpcpp.h"
#include "grpcpp/health_check_service_interface.h"
#include "grpcpp/resource_quota.h"
#include "security/authority.h"
#include "security/credentials.h"
#include "security/enrolment.h"
#include "store/artifact_store.h"
#include "store/journal_store.h"
#include "store/leader_lease.h"
#include "store/store_folder.h"

namespace hwnas::controller {
namespace {

constexpr absl::Duration kTick = absl::Milliseconds(100);
constexpr int kMaxServerThreads = 64;
constexpr int kIdleServerThreads = 16;
// Studies whose slow strategies propose at once.
constexpr unsigned kMaxProposers = 4;
// Of those who have no certificate yet.
constexpr int kMaxNewcomers = 256;
constexpr int kMaxNewcomerThreads = 4;
constexpr int kMaxNewcomerMessageBytes = 32 << 10;
constexpr size_t kMaxNewcomerBytes = size_t{16} << 20;

// Waits for what arrives at a server, as long as it lives. A server of gRPC
// 1.51 that has methods of both the synchronous and the callback API leaves
// reading its connections to the threads of the latter. These sleep for 100 ms
// after each second without a callback (CallbackAlternativeCQ in
// completion_queue_cc.cc), all at the same time, and calls wait for them. A
// queue of our own that is always waited for, though nothing is ever put into
// it, reads the connections meanwhile.
class Reader {
 public:
  // Before the server is built.
  explicit Reader(grpc::ServerBuilder* builder)
      : queue_(builder->AddCompletionQueue()) {}
  // After its end.
  ~Reader() {
    queue_->Shutdown();
    if (!thread_.joinable()) thread_ = std::thread([this] { Wait(); });
    thread_.join();
  }
  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;

  void Start() {
    thread_ = std::thread([this] { Wait(); });
  }

 private:
  void Wait() {
    void* tag = nullptr;
    for (bool ok = false; queue_->Next(&tag, &ok);) {
    }
  }

  const std::unique_ptr<grpc::ServerCompletionQueue> queue_;
  std::thread thread_;
};

// "host:0" with the real port.
std::string WithPort(const std::string& address, int port) {
  return absl::StrCat(address.substr(0, address.rfind(':')), ":", port);
}

class ServerImpl final : public Server {
 public:
  ServerImpl(ServerOptions options, std::shared_ptr<Logger> logger)
      : options_(std::move(options)),
        logger_(std::move(logger)),
        listen_(options_.listen) {}
  ~ServerImpl() override { Stop(); }

  absl::Status Start() {
    bool loopback = false;
    HWNAS_RETURN_IF_ERROR(
        CheckAddress("listen", options_.listen, /*min_port=*/0, &loopback));
    if (options_.tls_dir.empty() && !loopback && !options_.insecure) {
      return absl::FailedPreconditionError(absl::StrCat(
          "listen address \"", options_.listen,
          "\" is beyond this machine and connections are not encrypted: listen "
          "on 127.0.0.1, give --tls_dir, or --insecure on a network you "
          "trust"));
    }
    exposed_ = !options_.tls_dir.empty() || !loopback;
    HWNAS_RETURN_IF_ERROR(OpenAuthority());
    if (options_.store.empty()) {
      return absl::InvalidArgumentError(
          "no store: give --store=FOLDER, for example "
          "--store=/var/lib/hwnas");
    }
    HWNAS_RETURN_IF_ERROR(MakeDirectories(options_.store));
    auto registry = std::make_shared<prometheus::Registry>();
    metrics_ = std::make_unique<ControllerMetrics>(registry);
    HWNAS_ASSIGN_OR_RETURN(
        access_, Access::Create({.tls_dir = options_.tls_dir,
                                 .audit_log = options_.audit_log},
                                Clock::Real(), metrics_.get(), logger_));
    if (!options_.metrics.empty()) {
      HWNAS_ASSIGN_OR_RETURN(
          metrics_server_,
          MetricsServer::Start(options_.metrics, registry,
                               options_.insecure || options_.metrics_insecure));
    }
    if (!options_.health.empty()) {
      HWNAS_RETURN_IF_ERROR(
          CheckAddress("health", options_.health, /*min_port=*/0, &loopback));
      HWNAS_ASSIGN_OR_RETURN(health_, HealthServer::Start(options_.health));
    }
    return options_.store_url.empty() ? ServeAlone() : ServeOrStandBy();
  }

  std::string address() const override {
    return WithPort(options_.listen, port_);
  }
  std::string enroll_address() const override {
    return newcomer_acceptor_ == nullptr
               ? ""
               : WithPort(options_.enroll, newcomer_acceptor_->port());
  }

  void Stop() override {
    {
      MutexLock lock(&mutex_);
      stopping_ = true;
      serving_ = nullptr;
      changed_.SignalAll();
    }
    // Clients go elsewhere before they are cut off.
    if (health_ != nullptr) health_->SetServing(false);
    if (take_over_.joinable()) take_over_.join();
    if (timer_.joinable()) timer_.join();
    for (std::thread& proposer : proposers_) proposer.join();
    proposers_.clear();
    acceptor_ = nullptr;
    newcomer_acceptor_ = nullptr;
    if (newcomers_ != nullptr) {
      newcomers_->Shutdown(std::chrono::system_clock::now());
      newcomers_->Wait();
      newcomers_ = nullptr;
    }
    if (server_ != nullptr) {
      fleet_service_->CloseAll();
      // Cuts off whoever still watches.
      server_->Shutdown(std::chrono::system_clock::now() +
                        std::chrono::milliseconds(500));
      server_->Wait();
      server_ = nullptr;
      reader_ = nullptr;
    }
    standby_ = nullptr;
    leadership_ = nullptr;  // Another controller may lead now.
  }

 private:
  absl::Status ServeAlone() {
    HWNAS_ASSIGN_OR_RETURN(lock_, StoreFolderLock::Take(options_.store));
    HWNAS_ASSIGN_OR_RETURN(
        journals_,
        OpenSqliteJournalStore({.path = JournalPath(options_.store)}));
    HWNAS_RETURN_IF_ERROR(ServeStudies());
    return WritePortFile();
  }

  absl::Status ServeOrStandBy() {
    if (const std::string unused = JournalPath(options_.store);
        std::filesystem::exists(unused)) {
      logger_->warn(
          "event=journal_unused path={} hint=\"the journals are in PostgreSQL; "
          "hwnas store export and import move them\"",
          unused);
    }
    HWNAS_ASSIGN_OR_RETURN(
        std::unique_ptr<LeaderLease> lease,
        OpenPostgresLease({.url = options_.store_url,
                           .holder = ThisProcess(),
                           .duration = options_.leader_lease}));
    leadership_ = std::make_unique<Leadership>(
        std::move(lease), options_.leader_lease,
        Leadership::Events{
            .on_lead = [this](int64_t epoch) { TakeOver(epoch); },
            .on_sure = [this](bool sure) { SetSure(sure); },
            .on_lost = [this](const absl::Status& why) { Fail(why); }},
        logger_);
    const absl::StatusOr<int64_t> epoch = leadership_->TryLead();
    if (epoch.ok()) {
      leadership_
          ->Start();  // Reading the journals may take longer than a lease.
      HWNAS_RETURN_IF_ERROR(Lead(*epoch));
      return WritePortFile();
    }
    if (!absl::IsAborted(epoch.status())) return epoch.status();
    HWNAS_ASSIGN_OR_RETURN(auto credentials, Credentials());
    HWNAS_ASSIGN_OR_RETURN(
        standby_,
        StandbyServer::Start(options_.listen, std::move(credentials)));
    port_ = standby_->port();
    listen_ = address();
    logger_->info("event=standing_by grpc={} reason=\"{}\"", address(),
                  std::string(epoch.status().message()));
    HWNAS_RETURN_IF_ERROR(WritePortFile());
    leadership_->Start();
    return absl::OkStatus();
  }

  // Called by the thread of `leadership_`, which must go on renewing.
  void TakeOver(int64_t epoch) {
    MutexLock lock(&mutex_);
    if (stopping_) return;
    take_over_ = std::thread([this, epoch] {
      if (const absl::Status status = Lead(epoch); !status.ok()) Fail(status);
    });
  }

  absl::Status Lead(int64_t epoch) {
    HWNAS_ASSIGN_OR_RETURN(
        journals_,
        OpenPostgresJournalStore({.url = options_.store_url, .epoch = epoch}));
    return ServeStudies();
  }

  // A client that checks health goes elsewhere while it is not sure who leads.
  void SetSure(bool sure) {
    MutexLock lock(&mutex_);
    sure_ = sure;
    if (serving_ != nullptr) {
      serving_->GetHealthCheckService()->SetServingStatus(sure);
      if (health_ != nullptr) health_->SetServing(sure);
    }
  }

  void Fail(const absl::Status& why) {
    if (options_.on_failure) options_.on_failure(why);
  }

  static std::string ThisProcess() {
    char host[256] = "?";
    gethostname(host, sizeof(host) - 1);
    return absl::StrCat(host, " process ", getpid());
  }

  // Nothing without TLS. The key may be elsewhere: then nobody enrols here.
  absl::Status OpenAuthority() {
    if (options_.tls_dir.empty()) {
      if (options_.enroll.empty()) return absl::OkStatus();
      return absl::InvalidArgumentError(
          "--enroll needs --tls_dir: newcomers get certificates there");
    }
    if (options_.insecure) {
      return absl::InvalidArgumentError(
          "--tls_dir and --insecure exclude each other");
    }
    HWNAS_RETURN_IF_ERROR(
        security::ReadIdentity(options_.tls_dir, absl::InfinitePast())
            .status());
    auto authority = security::Authority::Open(options_.tls_dir,
                                               options_.certificate_lifetime);
    if (authority.ok()) {
      authority_ = *std::move(authority);
      return RenewOwnCertificate();
    }
    if (absl::IsNotFound(authority.status()) && options_.enroll.empty()) {
      return absl::OkStatus();
    }
    return authority.status();
  }

  // Whoever holds the authority's key renews by itself.
  absl::Status RenewOwnCertificate() {
    const absl::Time now = Clock::Real()->Now();
    if (authority_ == nullptr || now < next_renewal_check_) {
      return absl::OkStatus();
    }
    HWNAS_ASSIGN_OR_RETURN(
        security::Certificate own,
        security::ReadIdentity(options_.tls_dir, absl::InfinitePast()));
    if (security::RenewalIsDue(own, now)) {
      HWNAS_ASSIGN_OR_RETURN(
          own, security::IssueInto(options_.tls_dir, *authority_, own.identity,
                                   now));
      logger_->info("event=certificate_renewed who=\"{}\" until={}",
                    ToText(own.identity),
                    absl::FormatTime(own.not_after, absl::UTCTimeZone()));
    }
    next_renewal_check_ =
        now + std::min(absl::Hours(1), (own.not_after - own.not_before) / 12);
    return absl::OkStatus();
  }

  // What any peer is held to, whether it has a certificate or not.
  void AddBounds(grpc::ServerBuilder* builder) const {
    // One controller to an address.
    builder->AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
    builder->AddChannelArgument(GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS,
                                static_cast<int>(absl::ToInt64Milliseconds(
                                    options_.handshake_timeout)));
    builder->AddChannelArgument(GRPC_ARG_MAX_METADATA_SIZE, kMaxMetadataBytes);
    builder->AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, kKeepaliveTimeMs);
    builder->AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS,
                                kKeepaliveTimeoutMs);
    builder->AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
    builder->AddChannelArgument(
        GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS,
        kKeepaliveTimeMs / 2);
  }

  // Strangers come here, so it has memory, threads and a port of its own, and
  // one small method.
  absl::Status ServeNewcomers() {
    if (options_.enroll.empty()) return absl::OkStatus();
    HWNAS_ASSIGN_OR_RETURN(
        const auto credentials,
        security::EnrolmentServerCredentials(options_.tls_dir));
    newcomer_service_ = std::make_unique<EnrollServiceImpl>(
        authority_.get(), access_.get(), Clock::Real(), metrics_.get());
    grpc::ServerBuilder builder;
    HWNAS_ASSIGN_OR_RETURN(
        newcomer_acceptor_,
        Acceptor::Listen("enroll", options_.enroll,
                         {.window = options_.handshake_timeout,
                          .max_new = kMaxNewcomers,
                          .max_new_per_address = kMaxNewcomers / 4},
                         logger_));
    auto connections = builder.experimental().AddExternalConnectionAcceptor(
        grpc::ServerBuilder::experimental_type::ExternalConnectionType::FROM_FD,
        credentials);
    AddBounds(&builder);
    builder.SetMaxReceiveMessageSize(kMaxNewcomerMessageBytes);
    builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, 4);
    builder.AddChannelArgument(GRPC_ARG_MAX_CONNECTION_IDLE_MS, 10'000);
    builder.AddChannelArgument(GRPC_ARG_MAX_CONNECTION_AGE_MS, 30'000);
    builder.AddChannelArgument(GRPC_ARG_MAX_CONNECTION_AGE_GRACE_MS, 5'000);
    grpc::ResourceQuota quota("newcomers");
    quota.SetMaxThreads(kMaxNewcomerThreads);
    quota.Resize(kMaxNewcomerBytes);
    builder.SetResourceQuota(quota);
    builder.RegisterService(newcomer_service_.get());
    newcomers_ = builder.BuildAndStart();
    if (newcomers_ == nullptr) {
      return absl::UnavailableError("cannot serve newcomers");
    }
    newcomer_acceptor_->Start(std::move(connections));
    return absl::OkStatus();
  }

  absl::StatusOr<std::shared_ptr<grpc::ServerCredentials>> Credentials() {
    if (options_.tls_dir.empty()) return grpc::InsecureServerCredentials();
    HWNAS_ASSIGN_OR_RETURN(
        auto credentials,
        security::ServerCredentials(
            options_.tls_dir,
            [access = access_.get()](absl::string_view certificate) {
              return access->CheckPeer(certificate);
            }));
    credentials->SetAuthMetadataProcessor(access_->MakeProcessor());
    return credentials;
  }

  // On `journals_`.
  absl::Status ServeStudies() {
    HWNAS_ASSIGN_OR_RETURN(
        artifacts_, OpenFolderArtifactStore(
                        {.folder = ArtifactsPath(options_.store),
                         .max_artifact_bytes = kMaxArtifactBytes,
                         .max_total_bytes = options_.max_artifacts_bytes}));
    HWNAS_ASSIGN_OR_RETURN(
        engine_,
        StudyEngine::Create({.lease_duration = options_.lease_duration,
                             .tables_dir = options_.tables_dir,
                             .checks = options_.checks,
                             .quotas = options_.quotas,
                             .max_user_studies = options_.max_user_studies,
                             .speculate = options_.speculate,
                             .propose_apart = true},
                            {.journals = journals_.get(),
                             .artifacts = artifacts_.get(),
                             .clock = Clock::Real(),
                             .metrics = metrics_.get(),
                             .logger = logger_}));
    access_->SetEngine(engine_.get());
    // It may have stood by for long.
    HWNAS_RETURN_IF_ERROR(RenewOwnCertificate());
    const bool stood_by = std::exchange(standby_, nullptr) != nullptr;
    absl::Status served = Serve();
    // The port that we listened on may take a moment to be free.
    for (int i = 0; i < 40 && stood_by && absl::IsUnavailable(served); ++i) {
      absl::SleepFor(absl::Milliseconds(50));
      served = Serve();
    }
    HWNAS_RETURN_IF_ERROR(served);
    HWNAS_RETURN_IF_ERROR(ServeNewcomers());
    {
      MutexLock lock(&mutex_);
      if (!stopping_) serving_ = server_.get();
      server_->GetHealthCheckService()->SetServingStatus(sure_);
      if (health_ != nullptr) health_->SetServing(sure_ && !stopping_);
    }
    timer_ = std::thread([this] { RunTimer(); });
    const unsigned proposers =
        std::clamp(std::thread::hardware_concurrency(), 1u, kMaxProposers);
    for (unsigned i = 0; i < proposers; ++i) {
      proposers_.emplace_back([this] { RunProposer(); });
    }
    logger_->info("event=serving grpc={} store={}", address(), options_.store);
    return absl::OkStatus();
  }

  absl::Status Serve() {
    transfers_ = std::make_unique<Transfers>(TransferLimits(), access_.get(),
                                             Clock::Real());
    study_service_ = std::make_unique<StudyServiceImpl>(
        engine_.get(), artifacts_.get(), access_.get(), transfers_.get(),
        metrics_.get());
    trial_service_ = std::make_unique<TrialServiceImpl>(
        engine_.get(), access_.get(), metrics_.get());
    fleet_service_ = std::make_unique<FleetServiceImpl>(
        FleetServiceOptions(), engine_.get(), artifacts_.get(), access_.get(),
        transfers_.get(), Clock::Real(), metrics_.get(), logger_);
    device_service_ = std::make_unique<DeviceServiceImpl>(
        engine_.get(), access_.get(), metrics_.get());
    access_service_ = std::make_unique<AccessServiceImpl>(
        engine_.get(), access_.get(), metrics_.get());
    enroll_service_ = std::make_unique<EnrollServiceImpl>(
        authority_.get(), access_.get(), Clock::Real(), metrics_.get());
    grpc::EnableDefaultHealthCheckService(true);
    grpc::reflection::InitProtoReflectionServerBuilderPlugin();
    grpc::ServerBuilder builder;
    HWNAS_ASSIGN_OR_RETURN(const auto credentials, Credentials());
    std::unique_ptr<grpc::experimental::ExternalConnectionAcceptor> connections;
    if (exposed_) {
      HWNAS_ASSIGN_OR_RETURN(
          acceptor_, Acceptor::Listen(
                         "listen", listen_,
                         {.window = options_.handshake_timeout,
                          .max_new_per_address = options_.max_new_per_address},
                         logger_));
      port_ = acceptor_->port();
      connections = builder.experimental().AddExternalConnectionAcceptor(
          grpc::ServerBuilder::experimental_type::ExternalConnectionType::
              FROM_FD,
          credentials);
    } else {
      builder.AddListeningPort(listen_, credentials, &port_);
    }
    builder.SetMaxReceiveMessageSize(kMaxMessageBytes);
    builder.SetMaxSendMessageSize(kMaxMessageBytes);
    AddBounds(&builder);
    builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS,
                               kMaxStreamsPerConnection);
    if (access_->tls()) {
      // New calls go over connections that have the present certificate.
      builder.AddChannelArgument(
          GRPC_ARG_MAX_CONNECTION_AGE_MS,
          static_cast<int>(std::min<int64_t>(
              kMaxConnectionAgeMs,
              absl::ToInt64Milliseconds(options_.certificate_lifetime / 12))));
    }
    builder.experimental().SetInterceptorCreators(access_->MakeInterceptors());
    // Threads that have answered a call stay for the next: to end and start one
    // for each call takes longer than most calls.
    using Option = grpc::ServerBuilder::SyncServerOption;
    builder.SetSyncServerOption(Option::NUM_CQS, 1);
    builder.SetSyncServerOption(Option::MIN_POLLERS, 2);
    builder.SetSyncServerOption(Option::MAX_POLLERS, kIdleServerThreads);
    grpc::ResourceQuota quota("controller");
    quota.SetMaxThreads(kMaxServerThreads);
    quota.Resize(kMaxTransportBytes);
    builder.SetResourceQuota(quota);
    for (grpc::Service* service : std::initializer_list<grpc::Service*>{
             study_service_.get(), trial_service_.get(), fleet_service_.get(),
             device_service_.get(), access_service_.get(),
             enroll_service_.get()}) {
      builder.RegisterService(service);
    }
    auto reader = std::make_unique<Reader>(&builder);
    server_ = builder.BuildAndStart();
    if (server_ == nullptr || port_ == 0) {
      server_ = nullptr;
      return absl::UnavailableError(absl::StrCat(
          "cannot listen on ", options_.listen,
          ": is the port in use (another controller?), or the address not of "
          "this machine? Give --listen another one"));
    }
    reader_ = std::move(reader);
    reader_->Start();
    if (acceptor_ != nullptr) acceptor_->Start(std::move(connections));
    return absl::OkStatus();
  }

  absl::Status WritePortFile() {
    const std::string metrics_address =
        metrics_server_ == nullptr
            ? ""
            : WithPort(options_.metrics, metrics_server_->port());
    logger_->info("event=listening grpc={} tls={} enroll={} metrics={}",
                  address(), access_->tls(), enroll_address(), metrics_address);
    if (options_.port_file.empty()) return absl::OkStatus();
    return WriteFileAtomically(
        options_.port_file,
        absl::StrCat(
            "{\"grpc\": \"", address(), "\", \"metrics\": \"", metrics_address,
            "\", \"enroll\": \"", enroll_address(), "\", \"health\": \"",
            health_ == nullptr ? ""
                               : WithPort(options_.health, health_->port()),
            "\"}\n"));
  }

  void RunProposer() {
    for (;;) {
      {
        MutexLock lock(&mutex_);
        if (stopping_) return;
      }
      (void)engine_->Propose(kTick);
    }
  }

  void RunTimer() {
    bool more = false;
    absl::Time next_tick = absl::InfinitePast();
    for (;;) {
      {
        MutexLock lock(&mutex_);
        if (!stopping_ && !more) changed_.WaitWithTimeout(&mutex_, kTick);
        if (stopping_) return;
      }
      const absl::Time now = Clock::Real()->Steady();
      if (more && now < next_tick) {
        more = engine_->GoOn();
        continue;
      }
      next_tick = now + kTick;
      more = engine_->Tick();
      fleet_service_->Tick();
      transfers_->Tick();
      access_->Tick();
      if (const absl::Status renewed = RenewOwnCertificate(); !renewed.ok()) {
        logger_->error("event=certificate_not_renewed reason=\"{}\"",
                       std::string(renewed.message()));
        next_renewal_check_ = Clock::Real()->Now() + absl::Minutes(1);
      }
    }
  }

  const ServerOptions options_;
  const std::shared_ptr<Logger> logger_;
  std::optional<StoreFolderLock> lock_;  // With SQLite.
  std::string listen_;  // With the real port, once it is known.
  int port_ = 0;
  bool exposed_ = false;  // Strangers may come.
  // In the order in which they stand on each other.
  std::unique_ptr<Access> access_;
  std::unique_ptr<Leadership> leadership_;  // nullptr with SQLite.
  std::unique_ptr<StandbyServer> standby_;
  std::unique_ptr<JournalStore> journals_;
  std::unique_ptr<ArtifactStore> artifacts_;
  std::unique_ptr<ControllerMetrics> metrics_;
  std::unique_ptr<security::Authority> authority_;  // nullptr: not here.
  std::unique_ptr<StudyEngine> engine_;
  std::unique_ptr<MetricsServer> metrics_server_;
  std::unique_ptr<HealthServer> health_;  // nullptr: none.
  std::unique_ptr<Transfers> transfers_;
  std::unique_ptr<StudyServiceImpl> study_service_;
  std::unique_ptr<TrialServiceImpl> trial_service_;
  std::unique_ptr<FleetServiceImpl> fleet_service_;
  std::unique_ptr<DeviceServiceImpl> device_service_;
  std::unique_ptr<AccessServiceImpl> access_service_;
  std::unique_ptr<EnrollServiceImpl> enroll_service_;
  std::unique_ptr<EnrollServiceImpl> newcomer_service_;
  std::unique_ptr<Reader> reader_;
  std::unique_ptr<grpc::Server> server_;
  std::unique_ptr<grpc::Server> newcomers_;
  std::unique_ptr<Acceptor> acceptor_;  // nullptr: gRPC listens itself.
  std::unique_ptr<Acceptor> newcomer_acceptor_;
  // Of Start(), then of the timer.
  absl::Time next_renewal_check_ = absl::InfinitePast();

  std::thread take_over_;
  std::thread timer_;
  std::vector<std::thread> proposers_;
  Mutex mutex_;
  CondVar changed_;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  bool sure_ ABSL_GUARDED_BY(mutex_) = true;  // That no other one leads.
  // server_, while it may be told so.
  grpc::Server* serving_ ABSL_GUARDED_BY(mutex_) = nullptr;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Server>> Server::Start(
    const ServerOptions& options, std::shared_ptr<Logger> logger) {
  auto server = std::make_unique<ServerImpl>(options, std::move(logger));
  HWNAS_RETURN_IF_ERROR(server->Start());
  return server;
}

}  // namespace hwnas::controller

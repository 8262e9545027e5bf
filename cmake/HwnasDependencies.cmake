# Everything we build on; all but ONNX Runtime are Debian packages.
find_package(Threads REQUIRED)
find_package(OpenSSL REQUIRED)
find_package(Protobuf REQUIRED)
find_package(ONNX CONFIG REQUIRED)
find_package(absl REQUIRED)
find_package(Eigen3 REQUIRED NO_MODULE)
find_package(gRPC CONFIG REQUIRED)
if(CMAKE_CROSSCOMPILING)
  # The target's own plugin does not run here.
  find_program(GRPC_CPP_PLUGIN grpc_cpp_plugin REQUIRED)
  set_target_properties(gRPC::grpc_cpp_plugin PROPERTIES
    IMPORTED_LOCATION_NONE ${GRPC_CPP_PLUGIN} IMPORTED_LOCATION ${GRPC_CPP_PLUGIN})
endif()
find_package(spdlog REQUIRED)
find_package(prometheus-cpp CONFIG REQUIRED)
if(HWNAS_BUILD_CONTROLLER)
  find_package(SQLite3 REQUIRED)
  set(PostgreSQL_ADDITIONAL_VERSIONS 15)
  find_package(PostgreSQL REQUIRED)
  find_package(yaml-cpp REQUIRED)
  find_package(CLI11 REQUIRED)
  # A busy controller does 17 to 30 % more with it than with the C library's allocator.
  # Sanitizers bring their own.
  find_package(PkgConfig REQUIRED)
  pkg_check_modules(JEMALLOC QUIET IMPORTED_TARGET jemalloc)
  if(NOT JEMALLOC_FOUND AND NOT HWNAS_SANITIZE)
    message(STATUS "No jemalloc (libjemalloc-dev): the controller will be slower")
  endif()
endif()
if(HWNAS_BUILD_CONTROLLER OR HWNAS_BUILD_AGENT)
  find_package(nlohmann_json REQUIRED)
endif()
if(HWNAS_BUILD_TESTS)
  find_package(GTest REQUIRED)
  find_package(rapidcheck REQUIRED)
endif()
if(HWNAS_BUILD_WORKER OR HWNAS_AGENT_LIBTORCH)
  # Only to compile against: keeps Torch's global flags out of other targets.
  find_package(Torch REQUIRED)
endif()

if(HWNAS_BUILD_AGENT)
  find_package(PkgConfig REQUIRED)
  pkg_check_modules(SECCOMP REQUIRED IMPORTED_TARGET libseccomp)
  pkg_check_modules(RE2 REQUIRED IMPORTED_TARGET re2)
endif()

# Optional for tests that compare with it; the agent cannot do without.
find_package(OnnxRuntime QUIET)
if(HWNAS_BUILD_AGENT AND NOT OnnxRuntime_FOUND)
  message(FATAL_ERROR
    "ONNX Runtime was not found. Run scripts/install-onnxruntime, name an installation with "
    "-DONNXRUNTIME_ROOT=FOLDER, or leave the agent out with -DHWNAS_BUILD_AGENT=OFF.")
endif()
if(OnnxRuntime_FOUND)
  message(STATUS "Found ONNX Runtime ${OnnxRuntime_VERSION}: ${OnnxRuntime_LIBRARY}")
endif()

# Warnings, sanitizers, and the two functions by which every target is made.

add_library(hwnas_options INTERFACE)
target_include_directories(hwnas_options INTERFACE
  ${CMAKE_SOURCE_DIR} ${CMAKE_BINARY_DIR}/generated)
target_compile_options(hwnas_options INTERFACE
  -Wall -Wextra -Werror -Wno-unused-parameter -Wno-missing-field-initializers
  $<$<CXX_COMPILER_ID:GNU>:-Wno-maybe-uninitialized -Wno-restrict>
  $<$<CXX_COMPILER_ID:Clang>:-Wthread-safety>)

if(HWNAS_SANITIZE STREQUAL "address")
  # Without the checks of every dereference: what they find, the address sanitizer
  # stops at too, and they double the time of a build.
  add_compile_options(-fsanitize=address,undefined -fno-sanitize-recover=undefined
                      -fno-sanitize=null,alignment,vptr,object-size
                      -fno-omit-frame-pointer)
  add_link_options(-fsanitize=address,undefined)
elseif(HWNAS_SANITIZE STREQUAL "thread")
  add_compile_options(-fsanitize=thread)
  add_link_options(-fsanitize=thread)
elseif(HWNAS_SANITIZE)
  message(FATAL_ERROR "HWNAS_SANITIZE=${HWNAS_SANITIZE}: expected address, thread or empty")
endif()

if(HWNAS_FUZZ)
  add_compile_options(-fsanitize=fuzzer-no-link)
endif()

find_program(CCACHE_PROGRAM ccache)
if(CCACHE_PROGRAM)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CCACHE_PROGRAM})
  set(CMAKE_C_COMPILER_LAUNCHER ${CCACHE_PROGRAM})
endif()
find_program(MOLD_PROGRAM mold)
# A cross compiler looks for one of its own name.
if(MOLD_PROGRAM AND NOT CMAKE_CROSSCOMPILING)
  add_link_options(-fuse-ld=mold)
endif()

# hwnas_library(nas SOURCES a.cc b.cc PUBLIC hwnas::common PRIVATE yaml-cpp)
# makes target hwnas_nas with alias hwnas::nas. PUBLIC: what its headers expose.
function(hwnas_library name)
  cmake_parse_arguments(ARG "" "" "SOURCES;PUBLIC;PRIVATE" ${ARGN})
  add_library(hwnas_${name} STATIC ${ARG_SOURCES})
  add_library(hwnas::${name} ALIAS hwnas_${name})
  target_link_libraries(hwnas_${name}
    PUBLIC hwnas_options ${ARG_PUBLIC} PRIVATE ${ARG_PRIVATE})
endfunction()

# hwnas_program(hwnas-agent SOURCES main.cc LIBS hwnas::agent)
function(hwnas_program name)
  cmake_parse_arguments(ARG "" "" "SOURCES;LIBS" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  target_link_libraries(${name} PRIVATE hwnas_options ${ARG_LIBS})
  install(TARGETS ${name} RUNTIME COMPONENT ${name})
endfunction()

# hwnas_test(nas_pareto_test SOURCES pareto_test.cc LIBS hwnas::nas LABELS quick)
# LABELS: quick (in-process, seconds; also run under the sanitizers), search
# (whole searches, too slow for the sanitizers), torch, process (starts the real
# programs), arm64 (scripts/test-arm64).
function(hwnas_test name)
  cmake_parse_arguments(ARG "" "" "SOURCES;LIBS;LABELS" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  target_link_libraries(${name} PRIVATE hwnas_options ${ARG_LIBS} GTest::gmock GTest::gtest_main)
  # What is tested is optimised; the tests themselves are quicker to build so.
  # Those with LibTorch share a precompiled header with what they test.
  if(NOT "torch" IN_LIST ARG_LABELS)
    target_compile_options(${name} PRIVATE $<$<CONFIG:Release>:-O0>)
  endif()
  target_compile_definitions(${name} PRIVATE HWNAS_SOURCE_DIR="${CMAKE_SOURCE_DIR}"
                                             HWNAS_BIN_DIR="${CMAKE_RUNTIME_OUTPUT_DIRECTORY}")
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests/bin)
  add_test(NAME ${name} COMMAND ${name})
  if(NOT ARG_LABELS)
    set(ARG_LABELS quick)
  endif()
  set(timeout_s 300)
  if(HWNAS_SANITIZE)
    set(timeout_s 900)
  endif()
  # The same random cases each time.
  set_tests_properties(${name} PROPERTIES LABELS "${ARG_LABELS}" TIMEOUT ${timeout_s}
                                          ENVIRONMENT "RC_PARAMS=seed=1")
endfunction()

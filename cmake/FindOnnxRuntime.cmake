# Finds ONNX Runtime and defines the target OnnxRuntime::OnnxRuntime.
#
# Looked for in this order: ONNXRUNTIME_ROOT (a folder with include/ and lib/),
# third_party/onnxruntime as scripts/install-onnxruntime makes it, the system.
# Sets OnnxRuntime_FOUND, OnnxRuntime_VERSION (empty if the library's file does
# not tell) and OnnxRuntime_LIBRARY. Programs in the build tree find the library
# by their rpath.
set(ONNXRUNTIME_ROOT "" CACHE PATH "Folder of an ONNX Runtime: include/ and lib/")
set(_onnxruntime_hints ${ONNXRUNTIME_ROOT} ${CMAKE_SOURCE_DIR}/third_party/onnxruntime)

# An earlier search must not hide a newer installation.
foreach(variable OnnxRuntime_INCLUDE_DIR OnnxRuntime_LIBRARY)
  if(${variable} AND NOT EXISTS "${${variable}}")
    unset(${variable} CACHE)
  endif()
endforeach()
find_path(OnnxRuntime_INCLUDE_DIR onnxruntime_cxx_api.h
  HINTS ${_onnxruntime_hints}
  PATH_SUFFIXES include include/onnxruntime include/onnxruntime/core/session)
find_library(OnnxRuntime_LIBRARY
  NAMES onnxruntime libonnxruntime.so.1
  HINTS ${_onnxruntime_hints}
  PATH_SUFFIXES lib)

set(OnnxRuntime_VERSION "")
if(OnnxRuntime_LIBRARY)
  # The version is the name of the symbols' version node.
  file(REAL_PATH "${OnnxRuntime_LIBRARY}" _onnxruntime_file)
  file(STRINGS "${_onnxruntime_file}" _onnxruntime_version REGEX "^VERS_[0-9.]+$" LIMIT_COUNT 1)
  string(REGEX REPLACE "^VERS_" "" OnnxRuntime_VERSION "${_onnxruntime_version}")
endif()

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(OnnxRuntime
  REQUIRED_VARS OnnxRuntime_LIBRARY OnnxRuntime_INCLUDE_DIR
  VERSION_VAR OnnxRuntime_VERSION
  REASON_FAILURE_MESSAGE "run scripts/install-onnxruntime, or set ONNXRUNTIME_ROOT")
mark_as_advanced(OnnxRuntime_INCLUDE_DIR OnnxRuntime_LIBRARY)

if(OnnxRuntime_FOUND AND NOT TARGET OnnxRuntime::OnnxRuntime)
  add_library(OnnxRuntime::OnnxRuntime SHARED IMPORTED GLOBAL)
  set_target_properties(OnnxRuntime::OnnxRuntime PROPERTIES
    IMPORTED_LOCATION "${OnnxRuntime_LIBRARY}"
    IMPORTED_SONAME libonnxruntime.so.1
    INTERFACE_INCLUDE_DIRECTORIES "${OnnxRuntime_INCLUDE_DIR}")
endif()

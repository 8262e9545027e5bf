# For boards: programs for arm64 Linux, built on another machine with Debian's
# cross compiler (package g++-aarch64-linux-gnu) against the sysroot that
# scripts/make-sysroot makes, or another one named by HWNAS_SYSROOT.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_C_COMPILER aarch64-linux-gnu-gcc)
set(CMAKE_CXX_COMPILER aarch64-linux-gnu-g++)
set(CMAKE_LIBRARY_ARCHITECTURE aarch64-linux-gnu)

get_filename_component(_third_party "${CMAKE_CURRENT_LIST_DIR}/../../third_party" ABSOLUTE)
set(HWNAS_SYSROOT "${_third_party}/sysroot-arm64"
    CACHE PATH "Folder with the headers and libraries of the target")
list(APPEND CMAKE_TRY_COMPILE_PLATFORM_VARIABLES HWNAS_SYSROOT)
get_filename_component(CMAKE_SYSROOT "${HWNAS_SYSROOT}" ABSOLUTE)
if(NOT EXISTS "${CMAKE_SYSROOT}/usr/include")
  message(FATAL_ERROR "There is no sysroot in ${CMAKE_SYSROOT}: run scripts/make-sysroot, "
                      "or name one with -DHWNAS_SYSROOT=FOLDER.")
endif()

# Libraries are the target's, programs that run during the build this machine's.
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_PACKAGE ONLY)
# ONNX Runtime has a folder of its own.
set(CMAKE_FIND_ROOT_PATH "${_third_party}/onnxruntime-arm64")
set(ENV{PKG_CONFIG_SYSROOT_DIR} "${CMAKE_SYSROOT}")
set(ENV{PKG_CONFIG_LIBDIR}
    "${CMAKE_SYSROOT}/usr/lib/aarch64-linux-gnu/pkgconfig:${CMAKE_SYSROOT}/usr/share/pkgconfig")

# What the programs load while they run under an emulator during the build.
set(CMAKE_CROSSCOMPILING_EMULATOR "qemu-aarch64-static;-L;${CMAKE_SYSROOT}")

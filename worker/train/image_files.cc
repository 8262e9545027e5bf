#include "worker/train/image_files.h"

#include <png.h>
#include <zlib.h>

#include <csetjmp>
#include <cstdio>
// After <cstdio>, which jpeglib.h needs.
#include <jpeglib.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "common/files.h"
#include "common/status_macros.h"

namespace hwnas::worker {
namespace {

// What a header may claim; far above any real set of small images.
constexpr int64_t kMaxImages = 100'000'000;
constexpr int64_t kMaxSide = 4096;
constexpr int64_t kMaxSetBytes = int64_t{64} << 30;
constexpr size_t kMaxImageFileBytes = size_t{64} << 20;

// Reads plain and gzip files alike.
class GzipReader {
 public:
  static absl::StatusOr<GzipReader> Open(const std::string& path) {
    gzFile file = gzopen(path.c_str(), "rb");
    if (file == nullptr) {
      return absl::NotFoundError(absl::StrCat("cannot open ", path));
    }
    gzbuffer(file, 1 << 18);
    return GzipReader(path, file);
  }
  GzipReader(GzipReader&& other) noexcept
      : path_(std::move(other.path_)), file_(other.file_) {
    other.file_ = nullptr;
  }
  GzipReader& operator=(GzipReader&&) = delete;
  ~GzipReader() {
    if (file_ != nullptr) gzclose(file_);
  }

  absl::Status Read(void* to, int64_t size) {
    auto* at = static_cast<char*>(to);
    while (size > 0) {
      const auto step = static_cast<unsigned>(std::min<int64_t>(size, 1 << 24));
      const int n = gzread(file_, at, step);
      if (n < 0) return Damaged();
      if (n == 0) {
        int code = Z_OK;
        gzerror(file_, &code);
        if (code != Z_OK) return Damaged();
        return absl::DataLossError(
            absl::StrCat(path_, " ends ", size,
                         " bytes too early for what its header says"));
      }
      at += n;
      size -= n;
    }
    return absl::OkStatus();
  }

  absl::StatusOr<uint32_t> ReadBigEndian32() {
    uint8_t b[4];
    HWNAS_RETURN_IF_ERROR(Read(b, 4));
    return uint32_t{b[0]} << 24 | uint32_t{b[1]} << 16 | uint32_t{b[2]} << 8 |
           b[3];
  }

  absl::Status ExpectEnd() {
    char byte;
    const int n = gzread(file_, &byte, 1);
    if (n < 0) return Damaged();
    if (n > 0) {
      return absl::DataLossError(
          absl::StrCat(path_, " is longer than its header says"));
    }
    return absl::OkStatus();
  }

  absl::Status ExpectMagic(uint32_t expected, absl::string_view what) {
    HWNAS_ASSIGN_OR_RETURN(const uint32_t magic, ReadBigEndian32());
    if (magic != expected) {
      return absl::InvalidArgumentError(
          absl::StrCat(path_, " is not an IDX file of ", what, ": it starts 0x",
                       absl::Hex(magic, absl::kZeroPad8), ", expected 0x",
                       absl::Hex(expected, absl::kZeroPad8)));
    }
    return absl::OkStatus();
  }

 private:
  GzipReader(std::string path, gzFile file)
      : path_(std::move(path)), file_(file) {}
  absl::Status Damaged() {
    int code = Z_OK;
    return absl::DataLossError(
        absl::StrCat(path_, " is damaged: ", gzerror(file_, &code)));
  }

  std::string path_;
  gzFile file_;
};

absl::StatusOr<std::vector<uint8_t>> ReadPng(const std::string& path,
                                             const std::string& data,
                                             int channels, int* height,
                                             int* width) {
  png_image image;
  std::memset(&image, 0, sizeof(image));
  image.version = PNG_IMAGE_VERSION;
  absl::Cleanup free_image = [&image] { png_image_free(&image); };
  const auto damaged = [&] {
    return absl::DataLossError(
        absl::StrCat(path, " is not a readable PNG image: ", image.message));
  };
  if (!png_image_begin_read_from_memory(&image, data.data(), data.size())) {
    return damaged();
  }
  if (image.width > kMaxSide || image.height > kMaxSide) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, " has ", image.width, "x", image.height,
                     " pixels: expected at most ", kMaxSide, " on a side"));
  }
  image.format = channels == 1 ? PNG_FORMAT_GRAY : PNG_FORMAT_RGB;
  std::vector<uint8_t> pixels(PNG_IMAGE_SIZE(image));
  // Transparent pixels are laid over black.
  png_color black = {0, 0, 0};
  if (!png_image_finish_read(&image, &black, pixels.data(), 0, nullptr)) {
    return damaged();
  }
  *height = static_cast<int>(image.height);
  *width = static_cast<int>(image.width);
  return pixels;
}

struct JpegError {
  jpeg_error_mgr base;
  std::jmp_buf jump;
  char message[JMSG_LENGTH_MAX];
};

// libjpeg reports errors by a long jump: this function holds no object with a
// destructor that could be jumped over.
bool DecodeJpeg(const unsigned char* data, size_t size, int channels,
                std::vector<uint8_t>* pixels, int* height, int* width,
                JpegError* error) {
  jpeg_decompress_struct info;
  info.err = jpeg_std_error(&error->base);
  error->base.error_exit = [](j_common_ptr common) {
    auto* self = reinterpret_cast<JpegError*>(common->err);
    common->err->format_message(common, self->message);
    std::longjmp(self->jump, 1);
  };
  error->base.output_message = [](j_common_ptr) {};
  if (setjmp(error->jump) != 0) {
    jpeg_destroy_decompress(&info);
    return false;
  }
  jpeg_create_decompress(&info);
  jpeg_mem_src(&info, data, size);
  jpeg_read_header(&info, TRUE);
  if (info.image_width > kMaxSide || info.image_height > kMaxSide) {
    std::snprintf(error->message, sizeof(error->message),
                  "%ux%u pixels, expected at most %d on a side",
                  info.image_width, info.image_height,
                  static_cast<int>(kMaxSide));
    jpeg_destroy_decompress(&info);
    return false;
  }
  info.out_color_space = channels == 1 ? JCS_GRAYSCALE : JCS_RGB;
  jpeg_start_decompress(&info);
  *height = static_cast<int>(info.output_height);
  *width = static_cast<int>(info.output_width);
  const size_t stride = size_t{info.output_width} * channels;
  pixels->resize(stride * info.output_height);
  while (info.output_scanline < info.output_height) {
    unsigned char* row = pixels->data() + info.output_scanline * stride;
    jpeg_read_scanlines(&info, &row, 1);
  }
  jpeg_finish_decompress(&info);
  jpeg_destroy_decompress(&info);
  return true;
}

}  // namespace

absl::StatusOr<ImageSet> ReadIdx(const std::string& images_path,
                                 const std::string& labels_path, int classes,
                                 TensorShape* image) {
  HWNAS_ASSIGN_OR_RETURN(GzipReader images, GzipReader::Open(images_path));
  HWNAS_RETURN_IF_ERROR(images.ExpectMagic(0x803, "images"));
  HWNAS_ASSIGN_OR_RETURN(const int64_t count, images.ReadBigEndian32());
  HWNAS_ASSIGN_OR_RETURN(const int64_t height, images.ReadBigEndian32());
  HWNAS_ASSIGN_OR_RETURN(const int64_t width, images.ReadBigEndian32());
  if (count < 1 || count > kMaxImages || height < 1 || height > kMaxSide ||
      width < 1 || width > kMaxSide ||
      count > kMaxSetBytes / (height * width)) {
    return absl::InvalidArgumentError(
        absl::StrCat(images_path, " claims ", count, " images of ", height, "x",
                     width, " pixels: expected 1 to ", kMaxImages,
                     " images of at most ", kMaxSide, " pixels on a side"));
  }
  ImageSet set;
  // Grows as data arrives: a header alone must not claim the memory.
  const int64_t total = count * height * width;
  constexpr int64_t kStep = int64_t{64} << 20;
  for (int64_t have = 0; have < total;) {
    const int64_t step = std::min(kStep, total - have);
    set.pixels.resize(have + step);
    HWNAS_RETURN_IF_ERROR(images.Read(set.pixels.data() + have, step));
    have += step;
  }
  HWNAS_RETURN_IF_ERROR(images.ExpectEnd());

  HWNAS_ASSIGN_OR_RETURN(GzipReader labels, GzipReader::Open(labels_path));
  HWNAS_RETURN_IF_ERROR(labels.ExpectMagic(0x801, "labels"));
  HWNAS_ASSIGN_OR_RETURN(const int64_t label_count, labels.ReadBigEndian32());
  if (label_count != count) {
    return absl::InvalidArgumentError(
        absl::StrCat(labels_path, " has ", label_count, " labels, but ",
                     images_path, " has ", count, " images"));
  }
  std::vector<uint8_t> bytes(count);
  HWNAS_RETURN_IF_ERROR(labels.Read(bytes.data(), count));
  HWNAS_RETURN_IF_ERROR(labels.ExpectEnd());
  for (int64_t i = 0; i < count; ++i) {
    if (bytes[i] >= classes) {
      return absl::InvalidArgumentError(
          absl::StrCat(labels_path, ": label ", int{bytes[i]}, " of image ", i,
                       ": expected less than ", classes));
    }
  }
  set.labels.assign(bytes.begin(), bytes.end());
  *image = {1, static_cast<int>(height), static_cast<int>(width)};
  return set;
}

absl::StatusOr<ImageSet> ReadCifar(absl::Span<const std::string> paths,
                                   int label_bytes, int classes) {
  constexpr int kPlane = 32 * 32;
  const size_t record = label_bytes + 3 * kPlane;
  ImageSet set;
  for (const std::string& path : paths) {
    HWNAS_ASSIGN_OR_RETURN(const std::string data, ReadFile(path));
    if (data.empty() || data.size() % record != 0) {
      return absl::InvalidArgumentError(absl::StrCat(
          path, " has ", data.size(), " bytes: expected a multiple of ", record,
          " (CIFAR's binary version, not the Python one)"));
    }
    for (size_t at = 0; at < data.size(); at += record) {
      const int label = static_cast<uint8_t>(data[at + label_bytes - 1]);
      if (label >= classes) {
        return absl::InvalidArgumentError(
            absl::StrCat(path, ": label ", label, " of record ", at / record,
                         ": expected less than ", classes));
      }
      set.labels.push_back(label);
      const auto* planes =
          reinterpret_cast<const uint8_t*>(data.data()) + at + label_bytes;
      const size_t begin = set.pixels.size();
      set.pixels.resize(begin + 3 * kPlane);
      for (int p = 0; p < kPlane; ++p) {
        for (int c = 0; c < 3; ++c) {
          set.pixels[begin + 3 * p + c] = planes[c * kPlane + p];
        }
      }
    }
  }
  return set;
}

absl::StatusOr<std::vector<uint8_t>> ReadImageFile(const std::string& path,
                                                   const TensorShape& image) {
  HWNAS_ASSIGN_OR_RETURN(const std::string data,
                         ReadFile(path, kMaxImageFileBytes));
  int height = 0;
  int width = 0;
  std::vector<uint8_t> pixels;
  if (data.size() > 8 && data.compare(1, 3, "PNG") == 0) {
    HWNAS_ASSIGN_OR_RETURN(
        pixels, ReadPng(path, data, image.channels, &height, &width));
  } else if (data.size() > 3 && data.compare(0, 2, "\xff\xd8") == 0) {
    JpegError error;
    if (!DecodeJpeg(reinterpret_cast<const unsigned char*>(data.data()),
                    data.size(), image.channels, &pixels, &height, &width,
                    &error)) {
      return absl::DataLossError(
          absl::StrCat(path, " is not a readable JPEG image: ", error.message));
    }
  } else {
    return absl::InvalidArgumentError(
        absl::StrCat(path, " is neither a PNG nor a JPEG image"));
  }
  return ResizeImage(pixels, height, width, image.channels, image.height,
                     image.width);
}

absl::StatusOr<ImageSet> ReadImageFolder(const std::string& root,
                                         absl::Span<const std::string> classes,
                                         const TensorShape& image) {
  ImageSet set;
  for (size_t label = 0; label < classes.size(); ++label) {
    const std::string folder = absl::StrCat(root, "/", classes[label]);
    std::error_code error;
    std::vector<std::string> files;
    for (const auto& entry :
         std::filesystem::directory_iterator(folder, error)) {
      const std::string extension =
          absl::AsciiStrToLower(entry.path().extension().string());
      if (extension == ".png" || extension == ".jpg" || extension == ".jpeg") {
        files.push_back(entry.path().string());
      }
    }
    if (error || files.empty()) {
      return absl::NotFoundError(absl::StrCat(
          folder, ": ", error ? error.message() : "no images there",
          "; expected PNG or JPEG files of class \"", classes[label], "\""));
    }
    std::sort(files.begin(), files.end());  // Folders have no order.
    for (const std::string& file : files) {
      HWNAS_ASSIGN_OR_RETURN(const std::vector<uint8_t> pixels,
                             ReadImageFile(file, image));
      set.pixels.insert(set.pixels.end(), pixels.begin(), pixels.end());
      set.labels.push_back(static_cast<int32_t>(label));
    }
  }
  return set;
}

std::vector<uint8_t> ResizeImage(absl::Span<const uint8_t> pixels, int height,
                                 int width, int channels, int new_height,
                                 int new_width) {
  if (height == new_height && width == new_width) {
    return std::vector<uint8_t>(pixels.begin(), pixels.end());
  }
  // Weights of the source pixels for each new one: a triangle as wide as the
  // larger of the two pixels.
  struct Taps {
    int first = 0;
    std::vector<float> weights;
  };
  const auto taps_of = [](int from, int to) {
    const double scale = static_cast<double>(from) / to;
    const double support = std::max(1.0, scale);
    std::vector<Taps> taps(to);
    for (int i = 0; i < to; ++i) {
      const double centre = (i + 0.5) * scale - 0.5;
      const int begin =
          std::max(0, static_cast<int>(std::ceil(centre - support)));
      const int end =
          std::min(from - 1, static_cast<int>(std::floor(centre + support)));
      taps[i].first = begin;
      double sum = 0;
      for (int k = begin; k <= end; ++k) {
        const double w = std::max(0.0, 1 - std::abs(k - centre) / support);
        taps[i].weights.push_back(static_cast<float>(w));
        sum += w;
      }
      for (float& w : taps[i].weights) w = static_cast<float>(w / sum);
    }
    return taps;
  };
  const std::vector<Taps> rows = taps_of(height, new_height);
  const std::vector<Taps> columns = taps_of(width, new_width);
  std::vector<float> narrow(size_t{1} * height * new_width * channels);
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < new_width; ++x) {
      for (int c = 0; c < channels; ++c) {
        float sum = 0;
        for (size_t k = 0; k < columns[x].weights.size(); ++k) {
          sum +=
              columns[x].weights[k] *
              pixels[(size_t{1} * y * width + columns[x].first + k) * channels +
                     c];
        }
        narrow[(size_t{1} * y * new_width + x) * channels + c] = sum;
      }
    }
  }
  std::vector<uint8_t> out(size_t{1} * new_height * new_width * channels);
  const size_t stride = size_t{1} * new_width * channels;
  for (int y = 0; y < new_height; ++y) {
    for (size_t i = 0; i < stride; ++i) {
      float sum = 0;
      for (size_t k = 0; k < rows[y].weights.size(); ++k) {
        sum += rows[y].weights[k] * narrow[(rows[y].first + k) * stride + i];
      }
      out[y * stride + i] =
          static_cast<uint8_t>(std::clamp(sum + 0.5f, 0.0f, 255.0f));
    }
  }
  return out;
}

}  // namespace hwnas::worker

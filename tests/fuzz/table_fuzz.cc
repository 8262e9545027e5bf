// Tables of benchmarks and measurements, plain or packed.
#include <cstdint>
#include <string>

#include "estimator/data_table.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto table = hwnas::DataTable::Parse(
      "table.csv", std::string(reinterpret_cast<const char*>(data), size),
      {.max_file_bytes = 1 << 20,
       .max_text_bytes = 1 << 20,
       .max_rows = 1000,
       .max_columns = 64});
  if (!table.ok()) return 0;
  for (int64_t row = 0; row < table->rows(); ++row) {
    for (int i = 0; i < static_cast<int>(table->columns().size()); ++i) {
      (void)table->Number(row, i);
      (void)table->Where(row, i);
    }
  }
  return 0;
}

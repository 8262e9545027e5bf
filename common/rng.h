// Deterministic random numbers that are the same on every platform and standard
// library (std:: distributions are not).
#pragma once

#include <cstddef>
#include <cstdint>
#include <numeric>
#include <utility>
#include <vector>

namespace hwnas {

// xoshiro256** 1.0 (Blackman and Vigna), seeded by SplitMix64. Copyable and
// cheap; not thread-safe.
class Rng {
 public:
  explicit Rng(uint64_t seed) { Seed(seed); }

  // An independent stream for item `stream` of a run seeded with `seed`, e.g.
  // proposal number `stream` of a study. Equal arguments, equal stream.
  Rng(uint64_t seed, uint64_t stream) {
    uint64_t state = seed;
    const uint64_t mixed_seed = SplitMix(state);
    state = stream ^ 0x9e3779b97f4a7c15ull;
    Seed(mixed_seed ^ SplitMix(state));
  }

  uint64_t Next() {
    const uint64_t result = Rotl(s_[1] * 5, 7) * 9;
    const uint64_t t = s_[1] << 17;
    s_[2] ^= s_[0];
    s_[3] ^= s_[1];
    s_[1] ^= s_[2];
    s_[0] ^= s_[3];
    s_[2] ^= t;
    s_[3] = Rotl(s_[3], 45);
    return result;
  }

  // Uniform in [0, bound); bound > 0. Without modulo bias.
  uint64_t Below(uint64_t bound) {
    for (;;) {
      const uint64_t r = Next();
      // The lowest 2^64 % bound values are dropped; that is less than bound, so
      // hardly ever needed.
      if (r >= bound || r >= -bound % bound) return r % bound;
    }
  }

  // Uniform in [0, 1), 53 bits.
  double Uniform() { return static_cast<double>(Next() >> 11) * 0x1.0p-53; }

  bool Bernoulli(double p) { return Uniform() < p; }

  // Standard normal (polar method; one of the pair is dropped so that the state
  // is only the four words).
  double Normal();

  // Fisher-Yates.
  template <typename T>
  void Shuffle(std::vector<T>& items) {
    for (size_t i = items.size(); i > 1; --i) {
      std::swap(items[i - 1], items[Below(i)]);
    }
  }

  // `count` distinct indices below `n`, in random order; all if count >= n.
  std::vector<int> Sample(int n, int count) {
    std::vector<int> all(n);
    std::iota(all.begin(), all.end(), 0);
    const int k = count < n ? count : n;
    for (int i = 0; i < k; ++i) {
      std::swap(all[i], all[i + static_cast<int>(Below(n - i))]);
    }
    all.resize(k);
    return all;
  }

 private:
  static uint64_t Rotl(uint64_t x, int k) { return (x << k) | (x >> (64 - k)); }
  static uint64_t SplitMix(uint64_t& state) {
    uint64_t z = (state += 0x9e3779b97f4a7c15ull);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
  }
  void Seed(uint64_t seed) {
    for (uint64_t& word : s_) word = SplitMix(seed);
  }

  uint64_t s_[4];
};

}  // namespace hwnas

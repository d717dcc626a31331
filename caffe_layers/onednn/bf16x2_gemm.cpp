#include "onednn/bf16x2_gemm.hpp"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <dnnl.hpp>
#include <map>
#include <tuple>
#include <utility>
#include <vector>

#ifdef __x86_64__
#include <immintrin.h>
#endif

#ifdef _OPENMP
#include <omp.h>
#endif

#include "caffe/util/parallel_for.hpp"
#include "glog/logging.h"
#include "onednn/value_hash.hpp"

namespace caffe {

namespace {

using dnnl::memory;

// The tiles take 32 channels. Rows of 1,024 outputs, and the halves of as many rows of the most
// channels, fit the second-level cache.
const int kTileRows = 16;
const int kTileChannels = 64;
const int kMaxChannels = 768;
const int kMaxRows = 128;

const dnnl::engine& Cpu() {
  static const dnnl::engine engine(dnnl::engine::kind::cpu, 0);
  return engine;
}

memory::desc Halves(const memory::dims& dims, memory::format_tag tag) {
  return memory::desc(dims, memory::data_type::bf16, tag);
}

// out += in weights, with `in` (rows x channels).
dnnl::matmul::primitive_desc ProductOf(int rows, int channels, int outputs,
                                       const memory::desc& weights) {
  dnnl::post_ops sum;
  sum.append_sum(1);
  dnnl::primitive_attr attributes;
  attributes.set_post_ops(sum);
  attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);  // several threads run it at once
  const dnnl::matmul::desc descriptor(
      Halves({rows, channels}, memory::format_tag::ab), weights,
      memory::desc({rows, outputs}, memory::data_type::f32, memory::format_tag::ab));
  return dnnl::matmul::primitive_desc(descriptor, attributes, Cpu());
}

bool HasTiles() {
  try {
    const auto found = ProductOf(256, 64, 64, Halves({64, 64}, memory::format_tag::any));
    return std::strstr(found.impl_info_str(), "amx") != nullptr;
  } catch (const dnnl::error&) {
    return false;
  }
}

// The nearest bfloat16, and what is left of the value; not for NaN, which stays one as it is cut.
uint16_t Round(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof(bits));
  if (value == value) {
    bits += 0x7fff + (bits >> 16 & 1);
  }
  return bits >> 16;
}
float Widen(uint16_t half) {
  const uint32_t bits = static_cast<uint32_t>(half) << 16;
  float value;
  std::memcpy(&value, &bits, sizeof(value));
  return value;
}
void Split(float value, uint16_t* high, uint16_t* low) {
  *high = Round(value);
  *low = Round(value - Widen(*high));
}

#ifdef __x86_64__
// GCC 12 warns of what its own header leaves undefined on purpose.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#define WITH_TILES __attribute__((target("avx512f,avx512bw,avx512vl,avx512bf16")))

// The halves of 16 values, each in the lower part of 32 bits.
WITH_TILES inline void SplitVector(__m512 values, __m512i* high, __m512i* low) {
  *high = _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(values));
  const __m512 widened = _mm512_castsi512_ps(_mm512_slli_epi32(*high, 16));
  *low = _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(_mm512_sub_ps(values, widened)));
}

// Rows of the halves of up to kTileRows positions of the maps, transposed: pairs of channels are
// written at once.
WITH_TILES void SplitPositions(const float* maps, int positions, int64_t row, int channels,
                               int padded, uint16_t* high, uint16_t* low) {
  const __mmask16 mask = (1u << positions) - 1;
  const __m512i lane = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
  const __m512i index = _mm512_mullo_epi32(lane, _mm512_set1_epi32(padded));
  for (int k = 0; k < padded; k += 2) {
    __m512i highs[2], lows[2];
    for (int i = 0; i < 2; ++i) {
      // The rows of the maps lie pages apart, which no processor foresees.
      _mm_prefetch(reinterpret_cast<const char*>(maps + std::min(k + i + 16, channels - 1) * row),
                   _MM_HINT_T0);
      const __m512 values = k + i < channels ? _mm512_maskz_loadu_ps(mask, maps + (k + i) * row)
                                             : _mm512_setzero_ps();
      SplitVector(values, &highs[i], &lows[i]);
    }
    _mm512_mask_i32scatter_epi32(high + k, mask, index,
                                 _mm512_or_si512(highs[0], _mm512_slli_epi32(highs[1], 16)), 2);
    _mm512_mask_i32scatter_epi32(low + k, mask, index,
                                 _mm512_or_si512(lows[0], _mm512_slli_epi32(lows[1], 16)), 2);
  }
}
#pragma GCC diagnostic pop
#else
void SplitPositions(const float*, int, int64_t, int, int, uint16_t*, uint16_t*) {}
#endif

// Makes oneDNN's primitives for one thread: the threads here share the rows among themselves.
class OneThread {
 public:
#ifdef _OPENMP
  OneThread() : threads_(omp_get_max_threads()) { omp_set_num_threads(1); }
  ~OneThread() { omp_set_num_threads(threads_); }

 private:
  int threads_;
#endif
};

struct Product {
  dnnl::matmul primitive;
  memory::desc scratchpad;
};

// Some columns of the weights: their halves in the layout of the tiles, and the products with them
// by number of rows.
struct Columns {
  int first, channels, padded;  // the first in their factor
  memory high, low;
  std::map<int, Product> products;

  void Prepare(int rows, int outputs) {
    if (products.count(rows) == 0) {
      const OneThread one;
      const auto found = ProductOf(rows, padded, outputs, high.get_desc());
      products[rows] = {dnnl::matmul(found), found.scratchpad_desc()};
    }
  }
};

// Of one thread.
struct Workspace {
  std::vector<uint16_t> high, low;
  std::vector<char> scratchpad;

  template <typename Value>
  static Value* Reserve(std::vector<Value>* values, size_t count) {
    if (values->size() < count) values->resize(count);
    return values->data();
  }
};

}  // namespace

struct Bf16x2Gemm::State {
  const float* weights = nullptr;
  int outputs = 0, channels = 0;
  uint64_t hash = 0;
  // By first column, number of columns and multiplier.
  std::map<std::tuple<int, int, float>, std::vector<Columns> > columns;

  std::vector<Columns>& Get(int first, int count, float multiplier) {
    std::vector<Columns>& found = columns[std::make_tuple(first, count, multiplier)];
    if (found.empty()) {
      const int parts = (count + kMaxChannels - 1) / kMaxChannels;
      const int tiles = (count + kTileChannels - 1) / kTileChannels;
      const int max_here = (tiles + parts - 1) / parts * kTileChannels;
      for (int begin = 0; begin < count; begin += max_here) {
        const int here = std::min(max_here, count - begin);
        const int padded = (here + kTileChannels - 1) / kTileChannels * kTileChannels;
        found.push_back({begin, here, padded, memory(), memory(), {}});
        Fill(&found.back(), first + begin, multiplier);
      }
    }
    return found;
  }

  void Fill(Columns* part, int first, float multiplier) {
    const memory::dims dims = {part->padded, outputs};
    const memory::desc plain = Halves(dims, memory::format_tag::ba);
    const memory::desc tiled =
        ProductOf(kMaxRows, part->padded, outputs, Halves(dims, memory::format_tag::any))
            .weights_desc();
    std::vector<uint16_t> halves[2];
    for (auto& half : halves) half.assign(static_cast<size_t>(outputs) * part->padded, 0);
    ParallelFor(outputs, [&](int64_t o) {
      const float* in = weights + o * channels + first;
      for (int k = 0; k < part->channels; ++k) {
        const size_t to = o * part->padded + k;
        Split(multiplier * in[k], &halves[0][to], &halves[1][to]);
      }
    });
    memory* const parts[] = {&part->high, &part->low};
    dnnl::stream stream(Cpu());
    for (int i = 0; i < 2; ++i) {
      memory from(plain, Cpu(), halves[i].data());
      *parts[i] = memory(tiled, Cpu());
      dnnl::reorder(from, *parts[i]).execute(stream, from, *parts[i]);
      stream.wait();
    }
  }

  void AddRows(const float* maps, int row, int rows, const Columns& part, Workspace* workspace,
               float* out) const {
    const size_t size = static_cast<size_t>(rows) * part.padded;
    uint16_t* high = Workspace::Reserve(&workspace->high, size);
    uint16_t* low = Workspace::Reserve(&workspace->low, size);
    for (int first = 0; first < rows; first += kTileRows) {
      const size_t to = static_cast<size_t>(first) * part.padded;
      SplitPositions(maps + first, std::min(kTileRows, rows - first), row, part.channels,
                     part.padded, high + to, low + to);
    }
    const Product& product = part.products.at(rows);
    const memory::desc layout = Halves({rows, part.padded}, memory::format_tag::ab);
    const memory highs(layout, Cpu(), high), lows(layout, Cpu(), low);
    const memory sums(memory::desc({rows, outputs}, memory::data_type::f32, memory::format_tag::ab),
                      Cpu(), out);
    const memory scratchpad(
        product.scratchpad, Cpu(),
        Workspace::Reserve(&workspace->scratchpad, product.scratchpad.get_size() + 1));
    dnnl::stream stream(Cpu());
    for (const auto& factors :
         {std::make_pair(&lows, &part.high), std::make_pair(&highs, &part.low),
          std::make_pair(&highs, &part.high)}) {
      product.primitive.execute(stream, {{DNNL_ARG_SRC, *factors.first},
                                         {DNNL_ARG_WEIGHTS, *factors.second},
                                         {DNNL_ARG_DST, sums},
                                         {DNNL_ARG_SCRATCHPAD, scratchpad}});
    }
    stream.wait();
  }
};

Bf16x2Gemm::Bf16x2Gemm() : state_(new State) {}

Bf16x2Gemm::~Bf16x2Gemm() {}

bool Bf16x2Gemm::IsFast() {
  static const bool fast = HasTiles();
  return fast;
}

void Bf16x2Gemm::SetWeights(const float* weights, int outputs, int channels) {
  State& state = *state_;
  const uint64_t hash = ValueHash(weights, static_cast<size_t>(outputs) * channels);
  state.weights = weights;
  if (state.outputs != outputs || state.channels != channels || state.hash != hash) {
    state.columns.clear();
    state.outputs = outputs;
    state.channels = channels;
    state.hash = hash;
  }
}

void Bf16x2Gemm::Add(const std::vector<Factor>& factors, int count, float* out) {
  CHECK(IsFast()) << "Bf16x2Gemm expected a processor with bfloat16 tiles (AMX), got none";
  if (count < 1) return;
  int block = kMaxRows;
#ifdef _OPENMP
  // Of few rows, a share for each thread, in whole tiles.
  const int share = (count + omp_get_max_threads() - 1) / omp_get_max_threads();
  block = std::min(kMaxRows, (share + kTileRows - 1) / kTileRows * kTileRows);
#endif
  std::vector<std::vector<Columns>*> columns;
  for (const Factor& factor : factors) {
    columns.push_back(&state_->Get(factor.first_channel, factor.channels, factor.multiplier));
    for (Columns& part : *columns.back()) {
      part.Prepare(std::min(count, block), state_->outputs);
      part.Prepare((count - 1) % block + 1, state_->outputs);
    }
  }
#pragma omp parallel
  {
    Workspace workspace;
#pragma omp for schedule(dynamic)
    for (int first = 0; first < count; first += block) {
      float* rows = out + static_cast<int64_t>(first) * state_->outputs;
      for (size_t f = 0; f < factors.size(); ++f) {
        for (const Columns& part : *columns[f]) {
          const int64_t skipped = static_cast<int64_t>(part.first) * factors[f].row + first;
          state_->AddRows(factors[f].maps + skipped, factors[f].row, std::min(block, count - first),
                          part, &workspace, rows);
        }
      }
    }
  }
}

}  // namespace caffe

#include "onednn/winograd.hpp"

#include <algorithm>
#include <dnnl.hpp>

#include "caffe/util/parallel_for.hpp"
#include "caffe/util/threads.hpp"
#include "glog/logging.h"
#include "onednn/winograd_kernels.hpp"

namespace caffe {

namespace {

// Values of the transformed inputs and outputs of a block of tiles: what a thread has in its
// second-level cache, or for many channels in the third, where more tiles a block pay since the
// weights are read once a block.
const int64_t kThreadValues = 1 << 18;
const int kLeastTiles = 96;
// Of the blocks that all threads work on together.
const int64_t kSharedValues = 8 << 20;
const int kMostTiles = 384;
// For so few tiles, transformed weights are read from memory for longer than they are multiplied.
const int kFewTiles = 64;

const WinogradKernels* ChooseKernels() {
#if defined(__x86_64__)
  const int isa = static_cast<int>(dnnl::get_effective_cpu_isa());
  const auto allowed = [isa](dnnl::cpu_isa wanted) {
    return (isa & static_cast<int>(wanted)) == static_cast<int>(wanted);
  };
  if (allowed(dnnl::cpu_isa::avx512_core)) return &kWinogradAvx512;
  if (allowed(dnnl::cpu_isa::avx2) && __builtin_cpu_supports("fma")) return &kWinogradAvx2;
#endif
  return nullptr;
}

const WinogradKernels& Kernels() {
  static const WinogradKernels* const kernels = ChooseKernels();
  CHECK(kernels) << "Winograd's algorithm expected a processor with AVX2 and FMA";
  return *kernels;
}

int Ceil(int64_t value, int64_t divisor) {
  return static_cast<int>((value + divisor - 1) / divisor);
}

// The tiles of a convolution, counted along rows, columns and images, and the channels in blocks.
struct Grid {
  explicit Grid(const Winograd::Shape& shape)
      : shape(shape),
        rows(Ceil(shape.output_height(), kTileOutputs)),
        columns(Ceil(shape.output_width(), kTileOutputs)),
        tiles(shape.tiles()),
        width(Kernels().width),
        in_blocks(Ceil(shape.channels, width)),
        out_blocks(Ceil(shape.outputs, width)) {}

  Winograd::Shape shape;
  int rows, columns;
  int64_t tiles;
  int width, in_blocks, out_blocks;

  // Calls use(image, row, column, tiles, from the first) for the parts of rows that [begin, end)
  // consists of.
  template <typename Use>
  void ForEachRow(int64_t begin, int64_t end, const Use& use) const {
    for (int64_t t = begin; t < end;) {
      const int column = static_cast<int>(t % columns);
      const int count = static_cast<int>(std::min<int64_t>({columns - column, end - t, kRowTiles}));
      const int64_t row = t / columns;
      use(static_cast<int>(row / rows), static_cast<int>(row % rows), column, count,
          static_cast<int>(t - begin));
      t += count;
    }
  }

  int BlockChannels(int channels, int block) const {
    return std::min(width, channels - block * width);
  }
};

// (positions x blocks x tiles x width), each position in other sets of the cache than the last.
Layout LayoutOf(int blocks, int tiles, int width) {
  const int64_t block = static_cast<int64_t>(tiles) * width;
  return {blocks * block + 16, block};
}
int64_t Count(const Layout& layout) { return kTilePositions * layout.position; }

// The share of a member of a team in `total` pieces of work.
struct Share {
  Share(int64_t total, int member, int members)
      : begin(total * member / members), end(total * (member + 1) / members) {}
  int64_t begin, end;
};

// Transforms tiles [begin, end) of some blocks of channels.
typedef void (*TransformMaps)(const TileRow&, const float*, float*, float*, int64_t);

void Transform(TransformMaps transform, const Grid& grid, const float* maps, int channels,
               int height, int width, int pad_h, int pad_w, int64_t begin, int64_t end,
               const Share& blocks, const Layout& layout, float* strip, float* out) {
  const int64_t plane = static_cast<int64_t>(height) * width;
  for (int64_t block = blocks.begin; block < blocks.end; ++block) {
    const int count = grid.BlockChannels(channels, static_cast<int>(block));
    grid.ForEachRow(begin, end, [&](int image, int row, int column, int tiles, int first) {
      const TileRow place = {
          plane, count, height, width, row * kTileOutputs - pad_h, column * kTileOutputs - pad_w,
          tiles};
      const float* map =
          maps + (static_cast<int64_t>(image) * channels + block * grid.width) * plane;
      transform(place, map, strip, out + block * layout.block + first * grid.width,
                layout.position);
    });
  }
}

// How a convolution is divided.
struct Division {
  explicit Division(const Grid& grid) {
    const int threads = MaxThreads();
    const int64_t tile_values =
        static_cast<int64_t>(kTilePositions) * (grid.in_blocks + grid.out_blocks) * grid.width;
    tiles = std::max<int64_t>(kLeastTiles, kThreadValues / tile_values);
    few_blocks = grid.tiles < 2 * tiles * threads;
    together = threads > 1 && few_blocks;
    transforms_weights = grid.tiles <= kFewTiles && grid.out_blocks >= threads;
    if (together || transforms_weights) {
      tiles = std::max<int64_t>(kLeastTiles, kSharedValues / tile_values);
    }
    blocks = Ceil(grid.tiles, std::min(tiles, grid.tiles));
    tiles = Ceil(grid.tiles, blocks);
  }

  bool few_blocks;          // fewer than two for each thread
  bool together;            // whether all threads share a block, or else each takes its own
  bool transforms_weights;  // on the way, in every block
  int blocks;
  int64_t tiles;  // of a block, but for the last
};

// Transforms the weights of one block of outputs and channels [first, first + count).
void TransformBlock(const Grid& grid, const float* weights, bool transposed, int64_t block,
                    int first, int count, float* out, int64_t out_position) {
  const Winograd::Shape& s = grid.shape;
  const int lanes = grid.BlockChannels(s.outputs, static_cast<int>(block));
  const int64_t lane = 9 * static_cast<int64_t>(transposed ? 1 : s.channels);
  const int64_t channel = 9 * static_cast<int64_t>(transposed ? s.outputs : 1);
  Kernels().transform_weights(weights + block * grid.width * lane + first * channel, lane, lanes,
                              channel, count, transposed, out, out_position);
}

// A block of tiles from the inputs to the outputs, by the members of a team.
struct Convolution {
  Grid grid;
  const float* in;
  Winograd::Weights weights;
  const float* bias;  // in whole blocks of channels
  bool rectify;
  float* out;

  // What a member needs for some transformed weights; they come two blocks of outputs at a time.
  static Layout PartLayout(const Grid& grid) {
    return LayoutOf(2, std::min(grid.shape.channels, kChannelsAtOnce), grid.width);
  }

  // The products with weights that are transformed already: some positions and blocks of outputs.
  void Multiply(int tiles, const float* maps, const Layout& in_layout, const Layout& out_layout,
                const Share& work, float* products) const {
    const int channels = grid.shape.channels;
    for (int64_t i = work.begin; i < work.end;) {
      const int64_t position = i / grid.out_blocks, block = i % grid.out_blocks;
      const int64_t count = std::min(grid.out_blocks - block, work.end - i);
      Kernels().multiply(
          tiles, channels, static_cast<int>(count), false, maps + position * in_layout.position,
          in_layout.block, weights.transformed + i * channels * grid.width,
          products + position * out_layout.position + block * out_layout.block, out_layout.block);
      i += count;
    }
  }

  // The same, transforming the weights on the way: some blocks of outputs.
  void TransformAndMultiply(int tiles, const float* maps, const Layout& in_layout,
                            const Layout& out_layout, const Share& blocks, float* part,
                            float* products) const {
    for (int64_t block = blocks.begin; block < blocks.end; block += 2) {
      const int some = static_cast<int>(std::min<int64_t>(2, blocks.end - block));
      for (int first = 0; first < grid.shape.channels; first += kChannelsAtOnce) {
        const int count = std::min(kChannelsAtOnce, grid.shape.channels - first);
        const Layout layout = LayoutOf(2, count, grid.width);
        for (int i = 0; i < some; ++i) {
          TransformBlock(grid, weights.values, weights.transposed, block + i, first, count,
                         part + i * layout.block, layout.position);
        }
        for (int position = 0; position < kTilePositions; ++position) {
          Kernels().multiply(
              tiles, count, some, first > 0,
              maps + position * in_layout.position + first / grid.width * in_layout.block,
              in_layout.block, part + position * layout.position,
              products + position * out_layout.position + block * out_layout.block,
              out_layout.block);
        }
      }
    }
  }

  template <typename Barrier>
  void Run(int64_t begin, int64_t end, float* maps, float* strip, float* part, int member,
           int members, const Barrier& barrier) const {
    const Winograd::Shape& s = grid.shape;
    const int tiles = static_cast<int>(end - begin);
    const Layout in_layout = LayoutOf(grid.in_blocks, tiles, grid.width);
    const Layout out_layout = LayoutOf(grid.out_blocks, tiles, grid.width);
    float* products = maps + Count(in_layout);
    Transform(Kernels().transform_inputs, grid, in, s.channels, s.height, s.width, s.pad_h, s.pad_w,
              begin, end, Share(grid.in_blocks, member, members), in_layout, strip, maps);
    barrier();
    const Share blocks(grid.out_blocks, member, members);
    if (weights.transformed) {
      const Share work(static_cast<int64_t>(kTilePositions) * grid.out_blocks, member, members);
      Multiply(tiles, maps, in_layout, out_layout, work, products);
      barrier();
    } else {  // a member goes on with its own blocks of outputs
      TransformAndMultiply(tiles, maps, in_layout, out_layout, blocks, part, products);
    }
    const int height = s.output_height(), width = s.output_width();
    const int64_t plane = static_cast<int64_t>(height) * width;
    for (int64_t block = blocks.begin; block < blocks.end; ++block) {
      const int count = grid.BlockChannels(s.outputs, static_cast<int>(block));
      grid.ForEachRow(begin, end, [&](int image, int row, int column, int some, int first) {
        const TileRow place = {
            plane, count, height, width, row * kTileOutputs, column * kTileOutputs, some};
        Kernels().transform_outputs(
            place, products + block * out_layout.block + first * grid.width, out_layout.position,
            bias + block * grid.width, rectify, strip,
            out + (static_cast<int64_t>(image) * s.outputs + block * grid.width) * plane);
      });
    }
  }
};

}  // namespace

int64_t Winograd::Shape::tiles() const {
  return static_cast<int64_t>(images) * Ceil(output_height(), kTileOutputs) *
         Ceil(output_width(), kTileOutputs);
}

Winograd::Shape Winograd::Shape::Transposed() const {
  return {images, outputs, output_height(), output_width(), channels, 2 - pad_h, 2 - pad_w};
}

bool Winograd::IsSupported() {
  static const bool supported = ChooseKernels() != nullptr;
  return supported;
}

const char* Winograd::Name() { return Kernels().name; }

int64_t Winograd::TransformedWeights(const Shape& shape) {
  const Grid grid(shape);
  return static_cast<int64_t>(kTilePositions) * grid.out_blocks * grid.width * shape.channels;
}

bool Winograd::WantsTransformedWeights(const Shape& shape) {
  return shape.tiles() > 0 && !Division(Grid(shape)).transforms_weights;
}

bool Winograd::KeepsTransformedWeights(const Shape& shape) {
  return WantsTransformedWeights(shape) && !Division(Grid(shape)).few_blocks;
}

void Winograd::TransformWeights(const Shape& shape, const float* weights, bool transposed,
                                float* out) {
  const Grid grid(shape);
  const int64_t block = static_cast<int64_t>(shape.channels) * grid.width;
  const int chunks = Ceil(shape.channels, kChannelsAtOnce);
  ParallelFor(static_cast<int64_t>(grid.out_blocks) * chunks, [&](int64_t i) {
    const int64_t o = i / chunks;
    const int first = static_cast<int>(i % chunks) * kChannelsAtOnce;
    TransformBlock(
        grid, weights, transposed, o, first, std::min(kChannelsAtOnce, shape.channels - first),
        out + o * block + static_cast<int64_t>(first) * grid.width, grid.out_blocks * block);
  });
}

void Winograd::Convolve(const Shape& shape, const float* in, const Weights& weights,
                        const float* bias, bool rectify, Workspace* workspace, float* out) {
  const Grid grid(shape);
  if (grid.tiles == 0) return;
  const Division division(grid);
  CHECK(weights.transformed || division.transforms_weights)
      << "Winograd's algorithm expected transformed weights";
  const int64_t all_outputs = static_cast<int64_t>(grid.out_blocks) * grid.width;
  float* shifts = workspace->sums.Get(all_outputs);
  std::fill_n(shifts, all_outputs, 0.f);
  if (bias) std::copy_n(bias, shape.outputs, shifts);
  const Convolution convolution = {grid, in, weights, shifts, rectify, out};
  const int threads = MaxThreads();
  const int tiles = static_cast<int>(division.tiles);
  const int64_t values = Count(LayoutOf(grid.in_blocks, tiles, grid.width)) +
                         Count(LayoutOf(grid.out_blocks, tiles, grid.width));
  const int64_t part = weights.transformed ? 0 : Count(Convolution::PartLayout(grid));
  float* maps = workspace->tiles.Get(values * (division.together ? 1 : threads));
  float* strips = workspace->strips.Get(static_cast<int64_t>(kStripValues) * threads);
  float* parts = workspace->weights.Get(part * threads);
#pragma omp parallel num_threads(threads)
  {
    const int member = Thread();
    float* strip = strips + static_cast<int64_t>(member) * kStripValues;
    const auto end = [&](int block) { return std::min((block + 1) * division.tiles, grid.tiles); };
    if (division.together) {
      for (int b = 0; b < division.blocks; ++b) {
        convolution.Run(b * division.tiles, end(b), maps, strip, parts + member * part, member,
                        TeamThreads(), [] {
#pragma omp barrier
                        });
#pragma omp barrier
      }
    } else {
#pragma omp for schedule(dynamic)
      for (int b = 0; b < division.blocks; ++b) {
        convolution.Run(b * division.tiles, end(b), maps + member * values, strip,
                        parts + member * part, 0, 1, [] {});
      }
    }
  }
}

void Winograd::AddWeightsGradient(const Shape& shape, const float* in, const float* out_diff,
                                  Workspace* workspace, float* weights_diff) {
  const Grid grid(shape);
  if (grid.tiles == 0) return;
  const int threads = MaxThreads();
  const int64_t tile_values =
      static_cast<int64_t>(kTilePositions) * (grid.in_blocks + grid.out_blocks) * grid.width;
  // Not a matter of the threads, so that the sums are not.
  const int64_t block = std::min<int64_t>(
      {grid.tiles, kMostTiles, std::max<int64_t>(kLeastTiles, kSharedValues / tile_values)});
  const Layout in_layout = LayoutOf(grid.in_blocks, static_cast<int>(block), grid.width);
  const Layout out_layout = LayoutOf(grid.out_blocks, static_cast<int>(block), grid.width);
  const Layout sum_layout = LayoutOf(grid.out_blocks, grid.in_blocks * grid.width, grid.width);
  float* maps = workspace->tiles.Get(Count(in_layout) + Count(out_layout));
  float* gradients = maps + Count(in_layout);
  float* strips = workspace->strips.Get(static_cast<int64_t>(kStripValues) * threads);
  float* sums = workspace->sums.Get(Count(sum_layout));
  const WinogradKernels& kernels = Kernels();
#pragma omp parallel num_threads(threads)
  {
    const int member = Thread(), members = TeamThreads();
    float* strip = strips + static_cast<int64_t>(member) * kStripValues;
    const Share work(static_cast<int64_t>(kTilePositions) * grid.out_blocks, member, members);
    for (int64_t i = work.begin; i < work.end; ++i) {
      std::fill_n(
          sums + i / grid.out_blocks * sum_layout.position + i % grid.out_blocks * sum_layout.block,
          sum_layout.block, 0.f);
    }
    for (int64_t begin = 0; begin < grid.tiles; begin += block) {
      const int64_t end = std::min(begin + block, grid.tiles);
      Transform(kernels.transform_inputs, grid, in, shape.channels, shape.height, shape.width,
                shape.pad_h, shape.pad_w, begin, end, Share(grid.in_blocks, member, members),
                in_layout, strip, maps);
      Transform(kernels.transform_gradients, grid, out_diff, shape.outputs, shape.output_height(),
                shape.output_width(), 0, 0, begin, end, Share(grid.out_blocks, member, members),
                out_layout, strip, gradients);
#pragma omp barrier
      for (int64_t i = work.begin; i < work.end;) {
        const int64_t position = i / grid.out_blocks, first = i % grid.out_blocks;
        const int64_t count = std::min(grid.out_blocks - first, work.end - i);
        kernels.add_products(
            static_cast<int>(end - begin), shape.channels, static_cast<int>(count),
            maps + position * in_layout.position, in_layout.block,
            gradients + position * out_layout.position + first * out_layout.block, out_layout.block,
            sums + position * sum_layout.position + first * sum_layout.block, sum_layout.block);
        i += count;
      }
#pragma omp barrier
    }
#pragma omp for schedule(static)
    for (int64_t i = 0; i < static_cast<int64_t>(grid.out_blocks) * shape.channels; ++i) {
      const int64_t o = i / shape.channels, c = i % shape.channels;
      kernels.add_weights_gradient(sums + o * sum_layout.block + c * grid.width,
                                   sum_layout.position, 9 * shape.channels,
                                   grid.BlockChannels(shape.outputs, static_cast<int>(o)),
                                   weights_diff + (o * grid.width * shape.channels + c) * 9);
    }
  }
}

}  // namespace caffe

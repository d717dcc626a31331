// Times SparseHypercolumn at the sizes of VGG-16 against the loop that a textbook would write and
// against loops that only touch the same memory. Compiled with the library's own flags.
//
//   autocolor_bench SIDE IMAGES LOCATIONS ROUNDS [NAME [cold]]
//
// SIDE is that of the square images, in pixels; NAME leaves out contestants in whose name it is
// not. With `cold`, the caches are filled with other data before each pass, as in a training, where
// other layers run in between. Prints one JSON object: for each direction and contestant the
// seconds of each round; they take turns. OMP_NUM_THREADS sets the threads of the layer and of the
// limits; the textbook's loop is serial.

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "caffe/blob.hpp"
#include "caffe/layers/sparse_hypercolumn_layer.hpp"

namespace {

using caffe::Blob;

const int kLine = 16;                       // floats of a cache line
const size_t kColdBytes = size_t(1) << 30;  // more than the caches hold

struct Level {
  int channels;
  int scale;
};

// data, conv1_1 ... conv5_3, fc6, fc7
const Level kLevels[] = {{1, 1},    {64, 1},   {64, 1},    {128, 2},  {128, 2}, {256, 4},
                         {256, 4},  {256, 4},  {512, 8},   {512, 8},  {512, 8}, {512, 16},
                         {512, 16}, {512, 16}, {4096, 32}, {4096, 32}};

struct Bench {
  int side, images, locations, channels;
  Blob<float> at, top;
  std::vector<std::unique_ptr<Blob<float> > > features;
  std::vector<Blob<float>*> bottom, tops;
  std::unique_ptr<caffe::SparseHypercolumnLayer<float> > layer;
  // For each level and image the cache lines of one map that the locations touch, as offsets of
  // their first float, ascending.
  std::vector<std::vector<std::vector<int> > > lines;

  Bench(int side, int images, int locations) : side(side), images(images), locations(locations) {
    std::mt19937 generator(1);
    std::uniform_real_distribution<float> anywhere(-0.5f, side - 0.5f);
    at.Reshape(std::vector<int>{images, locations, 2});
    for (int i = 0; i < at.count(); ++i) at.mutable_cpu_data()[i] = anywhere(generator);
    bottom.push_back(&at);
    tops.push_back(&top);
    caffe::LayerParameter param;
    channels = 0;
    for (const Level& level : kLevels) {
      const int size = std::max(1, side / level.scale);
      features.emplace_back(new Blob<float>(images, level.channels, size, size));
      Blob<float>* blob = features.back().get();
      float* data = blob->mutable_cpu_data();
      for (int i = 0; i < blob->count(); ++i) data[i] = (i * 2654435761u >> 8) * 0x1p-24f;
      blob->mutable_cpu_diff();
      bottom.push_back(blob);
      channels += level.channels;
      auto* geometry = param.mutable_sparse_hypercolumn_param();
      geometry->add_scale(level.scale);
      geometry->add_offset_height((level.scale - 1) / 2.f);
      geometry->add_offset_width((level.scale - 1) / 2.f);
    }
    layer.reset(new caffe::SparseHypercolumnLayer<float>(param));
    layer->SetUp(bottom, tops);
    float* diff = top.mutable_cpu_diff();
    for (int i = 0; i < top.count(); ++i) diff[i] = (i * 2654435761u >> 8) * 0x1p-24f;
    for (size_t l = 0; l < features.size(); ++l) FindLines(l);
  }

  template <typename Function>
  void ForCells(size_t l, int image, int location, Function function) const {
    const float* p = at.cpu_data() + 2 * (image * locations + location);
    const int height = features[l]->shape(2), width = features[l]->shape(3);
    const float scale = kLevels[l].scale, offset = (scale - 1) / 2;
    const float y = std::min(std::max((p[0] - offset) / scale, 0.f), height - 1.f);
    const float x = std::min(std::max((p[1] - offset) / scale, 0.f), width - 1.f);
    const int y0 = static_cast<int>(y), x0 = static_cast<int>(x);
    const int y1 = std::min(y0 + 1, height - 1), x1 = std::min(x0 + 1, width - 1);
    const float v = y - y0, u = x - x0;
    function(y0 * width + x0, y0 * width + x1, y1 * width + x0, y1 * width + x1, (1 - v) * (1 - u),
             (1 - v) * u, v * (1 - u), v * u);
  }

  void FindLines(size_t l) {
    lines.emplace_back(images);
    for (int n = 0; n < images; ++n) {
      std::vector<int>& found = lines.back()[n];
      for (int p = 0; p < locations; ++p) {
        ForCells(l, n, p, [&](int a, int b, int c, int d, float, float, float, float) {
          for (int cell : {a, b, c, d}) found.push_back(cell / kLine * kLine);
        });
      }
      std::sort(found.begin(), found.end());
      found.erase(std::unique(found.begin(), found.end()), found.end());
    }
  }

  // The textbook: for each location, for each channel.
  void TextbookForward() {
    float* out = top.mutable_cpu_data();
    for (int n = 0; n < images; ++n) {
      for (int p = 0; p < locations; ++p) {
        for (size_t l = 0; l < features.size(); ++l) {
          const int plane = features[l]->count(2);
          const float* map = features[l]->cpu_data() + features[l]->offset(n);
          ForCells(l, n, p,
                   [&](int a, int b, int c, int d, float wa, float wb, float wc, float wd) {
                     for (int k = 0; k < kLevels[l].channels; ++k, map += plane) {
                       *out++ = wa * map[a] + wb * map[b] + wc * map[c] + wd * map[d];
                     }
                   });
        }
      }
    }
  }

  void TextbookBackward() {
    for (auto& blob : features) {
      std::memset(blob->mutable_cpu_diff(), 0, sizeof(float) * blob->count());
    }
    const float* in = top.cpu_diff();
    for (int n = 0; n < images; ++n) {
      for (int p = 0; p < locations; ++p) {
        for (size_t l = 0; l < features.size(); ++l) {
          const int plane = features[l]->count(2);
          float* map = features[l]->mutable_cpu_diff() + features[l]->offset(n);
          ForCells(l, n, p,
                   [&](int a, int b, int c, int d, float wa, float wb, float wc, float wd) {
                     for (int k = 0; k < kLevels[l].channels; ++k, map += plane) {
                       const float value = *in++;
                       map[a] += wa * value;
                       map[b] += wb * value;
                       map[c] += wc * value;
                       map[d] += wd * value;
                     }
                   });
        }
      }
    }
  }

  // Reads one float of each of the lines, once, in ascending order, and writes the output.
  void LimitForward() {
    float sum = 0;
    float* out = top.mutable_cpu_data();
#pragma omp parallel
    {
      for (size_t l = 0; l < features.size(); ++l) {
        const int plane = features[l]->count(2), maps = kLevels[l].channels;
        const float* data = features[l]->cpu_data();
#pragma omp for schedule(static) reduction(+ : sum) nowait
        for (int m = 0; m < images * maps; ++m) {
          const float* map = data + static_cast<int64_t>(m) * plane;
          float part = 0;
          for (int line : lines[l][m / maps]) part += map[line];
          sum += part;
        }
      }
#pragma omp for schedule(static)
      for (int row = 0; row < images * locations; ++row) {
        std::memset(out + static_cast<int64_t>(row) * channels, 1, sizeof(float) * channels);
      }
    }
    sink = sum;
  }

  // Fills each map with zeros and touches the lines in it.
  void LimitBackward() {
#pragma omp parallel
    for (size_t l = 0; l < features.size(); ++l) {
      const int plane = features[l]->count(2), maps = kLevels[l].channels;
      float* diff = features[l]->mutable_cpu_diff();
#pragma omp for schedule(static) nowait
      for (int m = 0; m < images * maps; ++m) {
        float* map = diff + static_cast<int64_t>(m) * plane;
        std::memset(map, 0, sizeof(float) * plane);
        for (int line : lines[l][m / maps]) map[line] += 1;
      }
    }
  }

  volatile float sink;
};

double Seconds(const std::function<void()>& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace

int main(int argc, char** argv) {
  const bool cold = argc == 7 && std::string(argv[6]) == "cold";
  if (argc < 5 || argc > 7 || (argc == 7 && !cold)) {
    std::fprintf(stderr, "usage: autocolor_bench SIDE IMAGES LOCATIONS ROUNDS [NAME [cold]]\n");
    return 2;
  }
  std::vector<char> other(cold ? kColdBytes : 0);
  Bench bench(std::atoi(argv[1]), std::atoi(argv[2]), std::atoi(argv[3]));
  const int rounds = std::atoi(argv[4]);
  std::vector<bool> propagate(bench.bottom.size(), true);
  propagate[0] = false;
  std::vector<std::pair<std::string, std::function<void()> > > contestants = {
      {"forward textbook", [&] { bench.TextbookForward(); }},
      {"forward layer", [&] { bench.layer->Forward(bench.bottom, bench.tops); }},
      {"forward limit", [&] { bench.LimitForward(); }},
      {"backward textbook", [&] { bench.TextbookBackward(); }},
      {"backward layer", [&] { bench.layer->Backward(bench.tops, propagate, bench.bottom); }},
      {"backward limit", [&] { bench.LimitBackward(); }}};
  if (argc > 5) {
    contestants.erase(std::remove_if(contestants.begin(), contestants.end(),
                                     [&](const auto& contestant) {
                                       return contestant.first.find(argv[5]) == std::string::npos;
                                     }),
                      contestants.end());
  }
  std::vector<std::vector<double> > seconds(contestants.size());
  for (int round = -1; round < rounds; ++round) {
    for (size_t i = 0; i < contestants.size(); ++i) {
      std::fill(other.begin(), other.end(), static_cast<char>(round));
      const double taken = Seconds(contestants[i].second);
      if (round >= 0) seconds[i].push_back(taken);
    }
  }
  std::printf("{");
  for (size_t i = 0; i < contestants.size(); ++i) {
    std::printf("%s\"%s\": [", i == 0 ? "" : ", ", contestants[i].first.c_str());
    for (size_t k = 0; k < seconds[i].size(); ++k)
      std::printf(k ? ", %.6f" : "%.6f", seconds[i][k]);
    std::printf("]");
  }
  std::printf("}\n");
  return 0;
}

#include "caffe/util/band_forward.hpp"

#include <algorithm>
#include <vector>

#include "caffe/util/bilinear_cpu.hpp"
#include "caffe/util/parallel_for.hpp"
#include "caffe/util/strided_gemm.hpp"
#include "caffe/util/threads.hpp"

#ifdef USE_ONEDNN
#include "onednn/bf16x2_gemm.hpp"
#endif

namespace caffe {

namespace {

// With fewer multiplications an image, or fewer outputs of them, splitting the values takes longer
// than it saves.
const double kBf16x2Multiplications = 0x1p28;
const int kBf16x2Outputs = 64;
const int kBf16x2Channels = 256;  // in a factor: each adds to the outputs three times

}  // namespace

#ifdef USE_ONEDNN
template <>
void BandForward<float>::PrepareBf16x2(bool exact) {
  double multiplications = 0;  // of one image
  for (size_t l = 0; l < grid_->levels().size(); ++l) {
    const HypercolumnLevel& level = grid_->levels()[l];
    const double cells = grid_->ProjectsFirst(l) ? level.plane() : grid_->cells();
    multiplications += cells * level.channels * product_.outputs;
  }
  if (exact || product_.outputs < kBf16x2Outputs || multiplications < kBf16x2Multiplications ||
      !Bf16x2Gemm::IsFast()) {
    bf16x2_.reset();
    return;
  }
  if (!bf16x2_) {
    bf16x2_ = std::make_shared<Bf16x2Gemm>();
  }
  bf16x2_->SetWeights(product_.weight, product_.outputs, product_.channels);
}

template <>
void BandForward<float>::AddBf16x2Products(const std::vector<Factor>& factors, int count,
                                           float* out) {
  std::vector<Bf16x2Gemm::Factor> converted;
  for (const Factor& factor : factors) {
    converted.push_back({factor.maps, factor.row, factor.first_channel, factor.channels,
                         static_cast<float>(factor.multiplier)});
  }
  bf16x2_->Add(converted, count, out);
}
#endif

template <typename Dtype>
void BandForward<Dtype>::PrepareBf16x2(bool) {}

template <typename Dtype>
void BandForward<Dtype>::AddBf16x2Products(const std::vector<Factor>&, int, Dtype*) {
  LOG(FATAL) << "Bf16x2Gemm expected float values, got double";
}

template <typename Dtype>
void BandForward<Dtype>::AddProducts(const std::vector<Factor>& factors, int count, Dtype* out) {
  std::vector<Factor> large;
  for (const Factor& factor : factors) {
    if (bf16x2_ && factor.channels >= kBf16x2Channels) {
      large.push_back(factor);
      continue;
    }
    StridedGemm(CblasTrans, CblasTrans, count, product_.outputs, factor.channels,
                static_cast<Dtype>(factor.multiplier), factor.maps, factor.row,
                product_.weight + factor.first_channel, product_.channels, Dtype(1), out,
                product_.outputs);
  }
  if (!large.empty()) {
    AddBf16x2Products(large, count, out);
  }
}

template <typename Dtype>
void BandForward<Dtype>::SetProduct(const DenseGrid& grid, const Product& product, bool exact) {
  grid_ = &grid;
  product_ = product;
  PrepareBf16x2(exact);
}

template <typename Dtype>
void BandForward<Dtype>::Run(const std::vector<const Dtype*>& maps, Dtype* out) {
  ForEachBand(maps, false, [&](int first, int rows) { WriteBand(first, rows, out); });
}

template <typename Dtype>
void BandForward<Dtype>::Run(const std::vector<const Dtype*>& maps,
                             const std::vector<Head>& heads) {
  ForEachBand(maps, true, [&](int first, int rows) {
    for (const Head& head : heads) {
      WriteHead(head, first, rows);
    }
  });
}

template <typename Dtype>
template <typename Write>
void BandForward<Dtype>::ForEachBand(const std::vector<const Dtype*>& maps, bool rectify,
                                     const Write& write) {
  Project(maps);
  // About 4,096 outputs and a row for each thread: less, and starting threads costs more than it
  // gives.
  const int height = grid_->height(), width = grid_->width();
  const int band_rows = std::min(height, std::max((4095 + width) / width, MaxThreads()));
  band_.resize(static_cast<size_t>(band_rows) * width * product_.outputs);
  for (int first = 0; first < height; first += band_rows) {
    const int rows = std::min(band_rows, height - first);
    FillBand(maps, first, rows);
    FinishBand(first, rows, rectify);
    write(first, rows);
  }
}

template <typename Dtype>
void BandForward<Dtype>::Project(const std::vector<const Dtype*>& maps) {
  projected_.resize(grid_->groups().size());
  for (size_t g = 0; g < projected_.size(); ++g) {
    const std::vector<size_t>& group = grid_->groups()[g];
    const int plane = grid_->levels()[group[0]].plane();
    projected_[g].assign(static_cast<size_t>(plane) * product_.outputs, Dtype(0));
    std::vector<Factor> factors;
    for (size_t l : group) {
      const HypercolumnLevel& level = grid_->levels()[l];
      factors.push_back({maps[l], plane, level.first_channel, level.channels, level.multiplier});
    }
    AddProducts(factors, plane, projected_[g].data());
  }
}

template <typename Dtype>
void BandForward<Dtype>::FillBand(const std::vector<const Dtype*>& maps, int first, int rows) {
  const int cells = rows * grid_->width();
  for (int i = 0; i < cells; ++i) {
    Dtype* out = &band_[static_cast<size_t>(i) * product_.outputs];
    for (int o = 0; o < product_.outputs; ++o) {
      out[o] = product_.bias ? product_.bias[o] : Dtype(0);
    }
  }
  const std::vector<HypercolumnLevel>& levels = grid_->levels();
  size_t channels = 0;
  for (size_t l = 0; l < levels.size(); ++l) {
    channels += grid_->SamplesFirst(l) ? levels[l].channels : 0;
  }
  sampled_.resize(channels * cells);
  Dtype* sampled = sampled_.data();
  std::vector<Factor> factors;
  for (size_t l = 0; l < levels.size(); ++l) {
    const HypercolumnLevel& level = levels[l];
    if (grid_->IsReadAsIs(l)) {
      factors.push_back({maps[l] + static_cast<int64_t>(first) * grid_->width(), level.plane(),
                         level.first_channel, level.channels, level.multiplier});
    } else if (grid_->SamplesFirst(l)) {
      ParallelFor(
          static_cast<int64_t>(level.channels) * rows,
          UpsampleRow<Dtype>{grid_->template Taps<OnCPU>(l), first, rows, maps[l], sampled, {}});
      if (l > 0 && grid_->SamplesFirst(l - 1) && levels[l - 1].multiplier == level.multiplier) {
        // One product in the place of two with few channels each.
        factors.back().channels += level.channels;
      } else {
        factors.push_back({sampled, cells, level.first_channel, level.channels, level.multiplier});
      }
      sampled += static_cast<int64_t>(level.channels) * cells;
    }
  }
  AddProducts(factors, cells, band_.data());
}

template <typename Dtype>
void BandForward<Dtype>::FinishBand(int first, int rows, bool rectify) {
  const int width = grid_->width(), outputs = product_.outputs;
#pragma omp parallel for schedule(static)
  for (int j = 0; j < rows; ++j) {
    Dtype* row = &band_[static_cast<size_t>(j) * width * outputs];
    std::vector<Dtype> blended;
    for (size_t g = 0; g < projected_.size(); ++g) {
      const BilinearGrid grid = grid_->template Taps<OnCPU>(grid_->groups()[g][0]);
      const int64_t line = static_cast<int64_t>(grid.width) * outputs;
      const BilinearTap& y = grid.rows[first + j];
      const Dtype* low = projected_[g].data() + y.low * line;
      const Dtype* high = projected_[g].data() + y.high * line;
      const Dtype below = static_cast<Dtype>(y.fraction), above = 1 - below;
      blended.resize(line);
      for (int64_t i = 0; i < line; ++i) {
        blended[i] = above * low[i] + below * high[i];
      }
      Dtype* out = row;
      for (int i = 0; i < width; ++i, out += outputs) {
        const BilinearTap& x = grid.columns[i];
        const Dtype right = static_cast<Dtype>(x.fraction), left = 1 - right;
        const Dtype* a = blended.data() + static_cast<int64_t>(x.low) * outputs;
        const Dtype* b = blended.data() + static_cast<int64_t>(x.high) * outputs;
        for (int o = 0; o < outputs; ++o) {
          out[o] += left * a[o] + right * b[o];
        }
      }
    }
    if (rectify) {  // while the row is in the cache
      for (int64_t i = 0; i < static_cast<int64_t>(width) * outputs; ++i) {
        row[i] = std::max(row[i], Dtype(0));
      }
    }
  }
}

template <typename Dtype>
void BandForward<Dtype>::WriteBand(int first, int rows, Dtype* out) const {
  const int cells = rows * grid_->width(), outputs = product_.outputs, lanes = 16;
  const int64_t plane = grid_->cells();
  Dtype* to = out + static_cast<int64_t>(first) * grid_->width();
#pragma omp parallel for schedule(static)
  for (int begin = 0; begin < outputs; begin += lanes) {
    const int end = std::min(begin + lanes, outputs);
    for (int i = 0; i < cells; ++i) {
      const Dtype* value = &band_[static_cast<size_t>(i) * outputs];
      for (int o = begin; o < end; ++o) {
        to[o * plane + i] = value[o];
      }
    }
  }
}

template <typename Dtype>
void BandForward<Dtype>::WriteHead(const Head& head, int first, int rows) const {
  const int cells = rows * grid_->width(), plane = grid_->cells();
  const Product& product = head.product;
  Dtype* out = head.out + static_cast<int64_t>(first) * grid_->width();
  for (int k = 0; k < product.outputs; ++k) {
    std::fill_n(out + static_cast<int64_t>(k) * plane, cells, product.bias[k]);
  }
  StridedGemm(CblasNoTrans, CblasTrans, product.outputs, cells, product.channels, Dtype(1),
              product.weight, product.channels, band_.data(), product.channels, Dtype(1), out,
              plane);
}

template class BandForward<float>;
template class BandForward<double>;

}  // namespace caffe

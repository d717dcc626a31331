#include <algorithm>
#include <cmath>
#include <cstring>
#include <iostream>
#include <string>
#include <vector>

#ifdef _OPENMP
#include <omp.h>
#endif

#include "gtest/gtest.h"

#include "caffe/common.hpp"
#include "caffe/test/test_caffe_main.hpp"
#include "caffe/util/math_functions.hpp"
#include "caffe/util/rng.hpp"
#include "onednn/convolution_choice.hpp"
#include "onednn/winograd.hpp"

namespace caffe {

namespace {

typedef std::vector<float> Floats;
typedef std::vector<double> Doubles;

int Draw(int low, int high) { return low + static_cast<int>(caffe_rng_rand() % (high - low + 1)); }

Floats Gaussian(int64_t count) {
  Floats values(count);
  caffe_rng_gaussian<float>(static_cast<int>(count), 0, 1, values.data());
  return values;
}

// A convolution, its gradients, and both by the definition in double precision.
struct Case {
  explicit Case(const Winograd::Shape& shape)
      : shape(shape),
        in(Gaussian(int64_t(shape.images) * shape.channels * shape.height * shape.width)),
        weights(Gaussian(int64_t(shape.outputs) * shape.channels * 9)),
        bias(Gaussian(shape.outputs)),
        out_diff(Gaussian(int64_t(shape.images) * shape.outputs * shape.output_height() *
                          shape.output_width())) {}

  void Run(bool rectify = false) {
    out.assign(out_diff.size(), NAN);
    in_diff.assign(in.size(), NAN);
    weights_diff.assign(weights.size(), 0);
    Convolve(shape, in, false, bias.data(), rectify, &out);
    Convolve(shape.Transposed(), out_diff, true, nullptr, false, &in_diff);
    Winograd::AddWeightsGradient(shape, in.data(), out_diff.data(), &workspace,
                                 weights_diff.data());
  }

  void Convolve(const Winograd::Shape& which, const Floats& from, bool transposed,
                const float* shift, bool rectify, Floats* to) {
    Winograd::Weights all = {weights.data(), transposed, nullptr};
    if (Winograd::WantsTransformedWeights(which)) {
      float* values = transformed.Get(Winograd::TransformedWeights(which));
      Winograd::TransformWeights(which, weights.data(), transposed, values);
      all.transformed = values;
    }
    Winograd::Convolve(which, from.data(), all, shift, rectify, &workspace, to->data());
  }

  // The largest error of the three, each relative to its largest value.
  double Error() const {
    const int height = shape.output_height(), width = shape.output_width();
    Doubles expected(out.size()), expected_in(in.size()), expected_weights(weights.size());
    for (int n = 0; n < shape.images; ++n) {
      for (int o = 0; o < shape.outputs; ++o) {
        for (int y = 0; y < height; ++y) {
          for (int x = 0; x < width; ++x) {
            const size_t to = ((size_t(n) * shape.outputs + o) * height + y) * width + x;
            expected[to] = bias[o];
            for (int c = 0; c < shape.channels; ++c) {
              for (int k = 0; k < 9; ++k) {
                const int v = y + k / 3 - shape.pad_h, u = x + k % 3 - shape.pad_w;
                if (v < 0 || v >= shape.height || u < 0 || u >= shape.width) continue;
                const size_t from =
                    ((size_t(n) * shape.channels + c) * shape.height + v) * shape.width + u;
                const size_t weight = (size_t(o) * shape.channels + c) * 9 + k;
                expected[to] += double(in[from]) * weights[weight];
                expected_in[from] += double(out_diff[to]) * weights[weight];
                expected_weights[weight] += double(out_diff[to]) * in[from];
              }
            }
          }
        }
      }
    }
    return std::max({RelativeError(expected, out), RelativeError(expected_in, in_diff),
                     RelativeError(expected_weights, weights_diff)});
  }

  static double RelativeError(const Doubles& expected, const Floats& received) {
    double largest = 1e-6, error = 0;
    for (size_t i = 0; i < expected.size(); ++i) {
      largest = std::max(largest, std::abs(expected[i]));
      const double difference = std::abs(expected[i] - received[i]);
      error = std::max(error, std::isnan(difference) ? INFINITY : difference);
    }
    return error / largest;
  }

  Winograd::Shape shape;
  Floats in, weights, bias, out_diff, out, in_diff, weights_diff;
  Winograd::Buffer transformed;
  Winograd::Workspace workspace;
};

class WinogradTest : public ::testing::Test {
 protected:
  WinogradTest() { Caffe::set_random_seed(1701); }

  bool IsSkipped() const {
    if (!Winograd::IsSupported()) std::cout << "skipped: a processor without AVX2 and FMA\n";
    return !Winograd::IsSupported();
  }
};

void SetThreads(int threads) {
#ifdef _OPENMP
  omp_set_num_threads(threads);
#endif
}

}  // namespace

TEST_F(WinogradTest, TestLiteral) {
  if (IsSkipped()) return;
  // [[1, 2], [3, 4]] under a kernel that reads the cell and ten times its right neighbour, plus
  // 100. The transforms divide by 24, so whole numbers are not exact.
  const Winograd::Shape shape = {1, 1, 2, 2, 1, 1, 1};
  Case literal(shape);
  literal.in = {1, 2, 3, 4};
  literal.weights = {0, 0, 0, 0, 1, 10, 0, 0, 0};
  literal.bias = {100};
  literal.out_diff = {1, 0, 0, 0};
  literal.Run();
  const float out[] = {121, 102, 143, 104}, in_diff[] = {1, 10, 0, 0};
  const float weights_diff[] = {0, 0, 0, 0, 1, 2, 0, 3, 4};
  for (int i = 0; i < 4; ++i) {
    EXPECT_NEAR(out[i], literal.out[i], 1e-4);
    EXPECT_NEAR(in_diff[i], literal.in_diff[i], 1e-5);
  }
  for (int i = 0; i < 9; ++i) EXPECT_NEAR(weights_diff[i], literal.weights_diff[i], 1e-5);
}

TEST_F(WinogradTest, TestRandomShapesAgainstDefinition) {
  if (IsSkipped()) return;
  // Maps of one cell, of less than a tile and of several, one to three channels and blocks that are
  // not full, no padding and more than the kernel needs, batches.
  double worst = 0, sum = 0;
  const int kTrials = 80;
  for (int trial = 0; trial < kTrials; ++trial) {
    Winograd::Shape shape;
    shape.images = Draw(1, 5);
    shape.channels = trial % 3 == 0 ? Draw(1, 3) : Draw(4, 40);
    shape.outputs = trial % 4 == 0 ? Draw(1, 3) : Draw(4, 40);
    shape.pad_h = Draw(0, 4);
    shape.pad_w = Draw(0, 4);
    shape.height = trial % 5 == 0 ? std::max(1, 3 - 2 * shape.pad_h) : Draw(3, 30);
    shape.width = trial % 5 == 1 ? std::max(1, 3 - 2 * shape.pad_w) : Draw(3, 70);
    Case random(shape);
    random.Run();
    const double error = random.Error();
    // Single precision has 6e-8; the transforms add and subtract values up to 10 times larger.
    EXPECT_LT(error, 2e-5) << shape.images << " x " << shape.channels << " x " << shape.height
                           << " x " << shape.width << " to " << shape.outputs << ", padding "
                           << shape.pad_h << ", " << shape.pad_w;
    worst = std::max(worst, error);
    sum += error;
  }
  std::cout << Winograd::Name() << ": error relative to the largest value " << sum / kTrials
            << " on average, " << worst << " at most\n";
}

TEST_F(WinogradTest, TestManyChannels) {
  if (IsSkipped()) return;
  // More than are multiplied at once, and than a block of tiles has room for.
  for (const Winograd::Shape& shape :
       {Winograd::Shape{1, 530, 9, 9, 40, 1, 1}, Winograd::Shape{2, 24, 70, 90, 30, 1, 1}}) {
    Case many(shape);
    many.Run();
    EXPECT_LT(many.Error(), 2e-5);
  }
}

TEST_F(WinogradTest, TestSameBitsForAnyThreads) {
  if (IsSkipped()) return;
  // One that each thread takes blocks of, and one whose blocks all threads share.
  for (const Winograd::Shape& shape :
       {Winograd::Shape{2, 40, 90, 81, 36, 1, 1}, Winograd::Shape{1, 70, 9, 7, 100, 1, 1}}) {
    Case first(shape);
    SetThreads(1);
    first.Run();
    for (int threads : {2, 3, 4, 8}) {
      Case other = Case(shape);
      other.in = first.in;
      other.weights = first.weights;
      other.bias = first.bias;
      other.out_diff = first.out_diff;
      SetThreads(threads);
      other.Run();
      EXPECT_TRUE(first.out == other.out) << threads << " threads";
      EXPECT_TRUE(first.in_diff == other.in_diff) << threads << " threads";
      EXPECT_TRUE(first.weights_diff == other.weights_diff) << threads << " threads";
    }
#ifdef _OPENMP
    SetThreads(omp_get_num_procs());
#endif
  }
}

TEST_F(WinogradTest, TestRectifies) {
  if (IsSkipped()) return;
  Case plain({1, 20, 13, 11, 21, 1, 1});
  plain.Run();
  const Floats expected = plain.out;
  plain.Run(true);
  for (size_t i = 0; i < expected.size(); ++i) {
    ASSERT_EQ(std::max(expected[i], 0.f), plain.out[i]);
  }
}

TEST_F(WinogradTest, TestNotANumberStaysInItsTiles) {
  if (IsSkipped()) return;
  Case one({1, 3, 24, 24, 2, 1, 1});
  one.in[0] = NAN;
  one.Run(true);
  EXPECT_TRUE(std::isnan(one.out[0]));  // a solver shall see it
  EXPECT_FALSE(std::isnan(one.out[8 * 24 + 8]));
}

TEST_F(WinogradTest, TestMemoryStaysAfterTheFirstPass) {
  if (IsSkipped()) return;
  Case steady({1, 64, 40, 40, 64, 1, 1});
  steady.Run();
  const float* const held[] = {steady.workspace.tiles.Get(0), steady.workspace.strips.Get(0),
                               steady.workspace.sums.Get(0), steady.transformed.Get(0)};
  steady.Run();
  EXPECT_EQ(held[0], steady.workspace.tiles.Get(0));
  EXPECT_EQ(held[1], steady.workspace.strips.Get(0));
  EXPECT_EQ(held[2], steady.workspace.sums.Get(0));
  EXPECT_EQ(held[3], steady.transformed.Get(0));
}

TEST_F(WinogradTest, TestTableKnowsTheseInstructions) {
  if (IsSkipped()) return;
  // Layers of VGG-16, for which the algorithm is there.
  for (auto pass : {ConvolutionPass::kForward, ConvolutionPass::kForwardLearning,
                    ConvolutionPass::kBackwardWeights, ConvolutionPass::kBackwardBottom}) {
    EXPECT_TRUE(WinogradIsFaster(pass, {1, 64, 256, 256, 64, 1, 1}));
    EXPECT_TRUE(WinogradIsFaster(pass, {1, 512, 32, 32, 512, 1, 1}));
  }
}

}  // namespace caffe

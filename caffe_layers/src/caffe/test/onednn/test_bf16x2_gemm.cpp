#include <cmath>
#include <random>
#include <vector>

#include "gtest/gtest.h"

#include "caffe/blob.hpp"
#include "caffe/layers/hypercolumn_inner_product_layer.hpp"
#include "caffe/test/test_caffe_main.hpp"
#include "onednn/bf16x2_gemm.hpp"

namespace caffe {

namespace {

std::vector<float> Gaussian(size_t count, int seed) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(count);
  for (float& value : values) value = normal(generator);
  return values;
}

void Explain() { std::printf("no bfloat16 tiles (AMX) on this machine: nothing to test\n"); }

struct Case {
  int outputs, channels, first, taken, count, row;
};

}  // namespace

TEST(Bf16x2GemmTest, TestLiteral) {
  if (!Bf16x2Gemm::IsFast()) return Explain();
  // Two maps of three positions, of which the first two are taken; two outputs. What bfloat16 alone
  // cannot hold is kept: 1 + 2^-10.
  const float maps[] = {1 + 0x1p-10f, 2, 9, 3, 4, 9}, weights[] = {1, 10, 0.5f, 1 + 0x1p-12f};
  std::vector<float> out = {1, 0, 0, 0};
  Bf16x2Gemm products;
  products.SetWeights(weights, 2, 2);
  products.Add({{maps, 3, 0, 2, 2.f}}, 2, out.data());
  EXPECT_FLOAT_EQ(1 + 2 * (1 + 0x1p-10f + 30), out[0]);
  EXPECT_FLOAT_EQ(2 * ((1 + 0x1p-10f) / 2 + 3 * (1 + 0x1p-12f)), out[1]);
  EXPECT_FLOAT_EQ(2 * (2 + 40), out[2]);
  EXPECT_FLOAT_EQ(2 * (1 + 4 * (1 + 0x1p-12f)), out[3]);
}

TEST(Bf16x2GemmTest, TestAgainstLoop) {
  if (!Bf16x2Gemm::IsFast()) return Explain();
  // Odd sizes; more channels than one product takes; more rows, and a rest of them.
  const Case cases[] = {{3, 5, 0, 5, 7, 9},           {64, 900, 0, 900, 33, 40},
                        {17, 1700, 37, 1601, 50, 50}, {8, 40, 3, 30, 4100, 4111},
                        {65, 64, 0, 64, 1, 1},        {1, 769, 0, 769, 16, 17}};
  for (const Case& c : cases) {
    const std::vector<float> weights = Gaussian(size_t(c.outputs) * c.channels, 1);
    // One value further than where an allocation starts: unaligned.
    const std::vector<float> maps = Gaussian(size_t(c.taken) * c.row + 1, 2);
    std::vector<float> out = Gaussian(size_t(c.count) * c.outputs, 3);
    const std::vector<float> before = out;
    Bf16x2Gemm products;
    products.SetWeights(weights.data(), c.outputs, c.channels);
    products.Add({{maps.data() + 1, c.row, c.first, c.taken, 1.5f}}, c.count, out.data());
    for (int i = 0; i < c.count; ++i) {
      for (int o = 0; o < c.outputs; ++o) {
        double expected = before[size_t(i) * c.outputs + o];
        for (int k = 0; k < c.taken; ++k) {
          expected += 1.5 * double(maps[1 + size_t(k) * c.row + i]) *
                      weights[size_t(o) * c.channels + c.first + k];
        }
        // Errors of 2^-16 of each product, of either sign.
        ASSERT_NEAR(expected, out[size_t(i) * c.outputs + o], 1e-5 * 1.5 * 4 * std::sqrt(c.taken))
            << c.outputs << " outputs, " << c.taken << " channels, " << i << ", " << o;
      }
    }
  }
}

TEST(Bf16x2GemmTest, TestFollowsTheWeights) {
  if (!Bf16x2Gemm::IsFast()) return Explain();
  std::vector<float> weights = {1, 2}, out = {0};
  const float map = 3;
  Bf16x2Gemm products;
  products.SetWeights(weights.data(), 1, 2);
  products.Add({{&map, 1, 1, 1, 1.f}}, 1, out.data());
  EXPECT_FLOAT_EQ(6, out[0]);
  weights[1] = 5;
  products.SetWeights(weights.data(), 1, 2);
  products.Add({{&map, 1, 1, 1, 1.f}}, 1, out.data());
  EXPECT_FLOAT_EQ(6 + 15, out[0]);
}

// A TEST net's layer of this size takes Bf16x2Gemm; with `exact`, and in a TRAIN net, it does
// not.
TEST(Bf16x2GemmTest, TestHypercolumnInnerProduct) {
  if (!Bf16x2Gemm::IsFast()) return Explain();
  Blob<float> fine(1, 70, 64, 61), coarse(1, 290, 16, 16);
  for (Blob<float>* blob : {&fine, &coarse}) {
    const std::vector<float> values = Gaussian(blob->count(), 4);
    std::copy(values.begin(), values.end(), blob->mutable_cpu_data());
  }
  LayerParameter param;
  param.set_name("h_fc1");
  HypercolumnInnerProductParameter* product = param.mutable_hypercolumn_inner_product_param();
  product->set_num_output(1030);
  product->mutable_weight_filler()->set_type("gaussian");
  for (float scale : {1.f, 4.f}) {
    product->add_scale(scale);
    product->add_offset_height((scale - 1) / 2);
    product->add_offset_width((scale - 1) / 2);
  }
  Blob<float> tops[3];
  std::vector<shared_ptr<Blob<float> > > blobs;
  for (int i = 0; i < 3; ++i) {
    param.set_phase(i == 2 ? TRAIN : TEST);
    product->set_exact(i == 1);
    HypercolumnInnerProductLayer<float> layer(param);
    if (i > 0) layer.blobs() = blobs;
    layer.SetUp({&fine, &coarse}, {&tops[i]});
    layer.Forward({&fine, &coarse}, {&tops[i]});
    blobs = layer.blobs();
  }
  double largest = 0, difference = 0;
  for (int i = 0; i < tops[0].count(); ++i) {
    ASSERT_EQ(tops[1].cpu_data()[i], tops[2].cpu_data()[i]);
    largest = std::max<double>(largest, std::abs(tops[1].cpu_data()[i]));
    difference =
        std::max<double>(difference, std::abs(tops[0].cpu_data()[i] - tops[1].cpu_data()[i]));
  }
  EXPECT_GT(difference, 0);  // or another product ran
  EXPECT_LT(difference, 1e-5 * largest);
}

}  // namespace caffe

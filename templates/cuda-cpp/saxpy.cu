#include <cstdio>
#include <cstdlib>
#include <vector>

// Ends the program at the first call of CUDA that fails.
#define CHECK(call)                                                          \
  do {                                                                       \
    const cudaError_t error = (call);                                        \
    if (error != cudaSuccess) {                                              \
      std::fprintf(stderr, "%s: %s\n", #call, cudaGetErrorString(error));    \
      std::exit(1);                                                          \
    }                                                                        \
  } while (false)

// y = a * x + y
__global__ void saxpy(std::size_t count, float a, const float *x, float *y) {
  const std::size_t at = blockIdx.x * std::size_t{blockDim.x} + threadIdx.x;
  if (at < count) y[at] = a * x[at] + y[at];
}

int main() {
  int devices = 0;
  const cudaError_t found = cudaGetDeviceCount(&devices);
  if (found != cudaSuccess || devices == 0) {
    std::fprintf(stderr, "no GPU: %s\n", cudaGetErrorString(found));
    return 77;
  }

  constexpr std::size_t count = 1 << 20;
  constexpr std::size_t bytes = count * sizeof(float);
  std::vector<float> y(count, 1.0f);
  const std::vector<float> x(count, 2.0f);

  float *on_gpu_x = nullptr, *on_gpu_y = nullptr;
  CHECK(cudaMalloc(&on_gpu_x, bytes));
  CHECK(cudaMalloc(&on_gpu_y, bytes));
  CHECK(cudaMemcpy(on_gpu_x, x.data(), bytes, cudaMemcpyHostToDevice));
  CHECK(cudaMemcpy(on_gpu_y, y.data(), bytes, cudaMemcpyHostToDevice));

  constexpr unsigned threads = 256;
  saxpy<<<(count + threads - 1) / threads, threads>>>(count, 3.0f, on_gpu_x, on_gpu_y);
  CHECK(cudaGetLastError());
  CHECK(cudaMemcpy(y.data(), on_gpu_y, bytes, cudaMemcpyDeviceToHost));
  CHECK(cudaFree(on_gpu_x));
  CHECK(cudaFree(on_gpu_y));

  for (const float value : y) {
    if (value != 7.0f) {
      std::fprintf(stderr, "3 * 2 + 1 is %g\n", value);
      return 1;
    }
  }
  std::printf("%zu times 3 * 2 + 1 = 7\n", count);
}

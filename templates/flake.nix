# A flake of its own, without inputs: machines know it as `templates`.
{
  description = "Projects to start from";

  outputs = _: {
    templates = {
      python = {
        path = ./python;
        description = "Python with uv, wheels from PyPI, a Jupyter kernel";
      };
      cpp = {
        path = ./cpp;
        description = "C++ with make and gdb";
      };
      cuda-python = {
        path = ./cuda-python;
        description = "Python with PyTorch on GPUs";
      };
      cuda-cpp = {
        path = ./cuda-cpp;
        description = "CUDA C++ with nvcc and CMake";
      };
      r = {
        path = ./r;
        description = "R with the tidyverse and a Jupyter kernel";
      };
      rust = {
        path = ./rust;
        description = "Rust with cargo, clippy and rust-analyzer";
      };
    };
  };
}

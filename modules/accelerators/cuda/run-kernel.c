/* Runs one kernel on every GPU and checks what it wrote. Prints the driver's CUDA version once
   CUDA runs, and exits with 0 when all is well; else the last line is what failed and NVIDIA's
   name for it. */
#include <dlfcn.h>
#include <stdio.h>

/* The part of cuda.h that is used here. */
typedef int CUresult;
typedef int CUdevice;
typedef unsigned long long CUdeviceptr;
typedef void *CUhandle;

/* out[i] = 3 * i + 7. For compute capability 5.2, which every later driver compiles. */
static const char kernel[] =
    ".version 6.0\n.target sm_52\n.address_size 64\n"
    ".visible .entry fill(.param .u64 out)\n{\n"
    ".reg .b32 %r<5>;\n.reg .b64 %rd<4>;\n"
    "ld.param.u64 %rd1, [out];\ncvta.to.global.u64 %rd1, %rd1;\n"
    "mov.u32 %r1, %ctaid.x;\nmov.u32 %r2, %ntid.x;\nmov.u32 %r3, %tid.x;\n"
    "mad.lo.s32 %r1, %r1, %r2, %r3;\n"
    "mul.wide.u32 %rd2, %r1, 4;\nadd.s64 %rd1, %rd1, %rd2;\n"
    "mad.lo.s32 %r4, %r1, 3, 7;\nst.global.u32 [%rd1], %r4;\nret;\n}\n";

enum { BLOCKS = 8, THREADS = 128, COUNT = BLOCKS * THREADS };

static void *library;
static CUresult (*name_of)(CUresult, const char **);

static void *function(const char *name) {
  void *found = dlsym(library, name);
  if (!found) printf("libcuda.so.1 has no %s\n", name);
  return found;
}

static int failed(const char *what, CUresult result) {
  const char *name = "an unknown error";
  if (!result) return 0;
  name_of(result, &name);
  printf("%s: %s (%d)\n", what, name, result);
  return 1;
}

int main(void) {
  library = dlopen("libcuda.so.1", RTLD_NOW);
  if (!library) {
    printf("%s\n", dlerror());
    return 1;
  }

#define LOAD(variable, name, ...)                                   \
  CUresult (*variable)(__VA_ARGS__);                                \
  if (!(*(void **)&variable = function(name))) return 1
  if (!(*(void **)&name_of = function("cuGetErrorName"))) return 1;
  LOAD(init, "cuInit", unsigned);
  LOAD(version_of, "cuDriverGetVersion", int *);
  LOAD(count_devices, "cuDeviceGetCount", int *);
  LOAD(get_device, "cuDeviceGet", CUdevice *, int);
  LOAD(retain, "cuDevicePrimaryCtxRetain", CUhandle *, CUdevice);
  LOAD(release, "cuDevicePrimaryCtxRelease_v2", CUdevice);
  LOAD(set_current, "cuCtxSetCurrent", CUhandle);
  LOAD(load, "cuModuleLoadData", CUhandle *, const void *);
  LOAD(get_function, "cuModuleGetFunction", CUhandle *, CUhandle, const char *);
  LOAD(allocate, "cuMemAlloc_v2", CUdeviceptr *, size_t);
  LOAD(launch, "cuLaunchKernel", CUhandle, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned,
       CUhandle, void **, void **);
  LOAD(copy, "cuMemcpyDtoH_v2", void *, CUdeviceptr, size_t);

  int devices = 0, version = 0;
  if (failed("cuInit", init(0)) || failed("cuDriverGetVersion", version_of(&version)) ||
      failed("cuDeviceGetCount", count_devices(&devices)))
    return 1;
  if (devices == 0) {
    puts("CUDA sees no device");
    return 1;
  }
  printf("CUDA %d.%d\n", version / 1000, version % 1000 / 10);
  for (int i = 0; i < devices; i++) {
    CUdevice device;
    CUhandle context, module, fill;
    CUdeviceptr memory;
    unsigned result[COUNT] = {0};
    if (failed("cuDeviceGet", get_device(&device, i)) ||
        failed("cuDevicePrimaryCtxRetain", retain(&context, device)) ||
        failed("cuCtxSetCurrent", set_current(context)) ||
        failed("cuModuleLoadData", load(&module, kernel)) ||
        failed("cuModuleGetFunction", get_function(&fill, module, "fill")) ||
        failed("cuMemAlloc", allocate(&memory, sizeof result)))
      return 1;
    void *arguments[] = {&memory};
    if (failed("cuLaunchKernel", launch(fill, BLOCKS, 1, 1, THREADS, 1, 1, 0, NULL, arguments, NULL)) ||
        failed("cuMemcpyDtoH", copy(result, memory, sizeof result)))
      return 1;
    for (unsigned j = 0; j < COUNT; j++) {
      if (result[j] != 3 * j + 7) {
        printf("GPU %d computed %u where %u is right\n", i, result[j], 3 * j + 7);
        return 1;
      }
    }
    release(device);
  }
  return 0;
}

/* In place of NVIDIA's libnvidia-ml.so.1: one T4. What a program asks beyond this is missing. */
#include <stdio.h>
#include <string.h>

typedef int nvmlReturn_t;
enum { SUCCESS = 0, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6 };

/* The part of nvml.h that is used here. */
typedef struct {
  char bus_id_legacy[16];
  unsigned domain, bus, device, id, subsystem_id;
  char bus_id[32];
} nvmlPciInfo_t;

static const char driver[] = "580.95.05", device;

static nvmlReturn_t text(char *to, unsigned size, const char *from) {
  return snprintf(to, size, "%s", from) < (int)size ? SUCCESS : INVALID_ARGUMENT;
}
static nvmlReturn_t only(const void *of) { return of == &device ? SUCCESS : INVALID_ARGUMENT; }

const char *nvmlErrorString(nvmlReturn_t result) { return result ? "a failure of the fake NVML" : "success"; }
nvmlReturn_t nvmlInit_v2(void) { return SUCCESS; }
nvmlReturn_t nvmlShutdown(void) { return SUCCESS; }
nvmlReturn_t nvmlSystemGetDriverVersion(char *to, unsigned size) { return text(to, size, driver); }
nvmlReturn_t nvmlSystemGetCudaDriverVersion(int *to) {
  *to = 13000;
  return SUCCESS;
}
nvmlReturn_t nvmlDeviceGetCount_v2(unsigned *to) {
  *to = 1;
  return SUCCESS;
}
nvmlReturn_t nvmlDeviceGetHandleByIndex_v2(unsigned index, const void **to) {
  *to = &device;
  return index ? INVALID_ARGUMENT : SUCCESS;
}
nvmlReturn_t nvmlDeviceGetHandleByUUID(const char *uuid, const void **to) {
  *to = &device;
  return strcmp(uuid, "GPU-00000000-0000-0000-0000-000000000000") ? NOT_FOUND : SUCCESS;
}
nvmlReturn_t nvmlDeviceGetIndex(const void *of, unsigned *to) {
  *to = 0;
  return only(of);
}
nvmlReturn_t nvmlDeviceGetName(const void *of, char *to, unsigned size) { return only(of) ?: text(to, size, "Tesla T4"); }
nvmlReturn_t nvmlDeviceGetBrand(const void *of, int *to) {
  *to = 2;
  return only(of);
}
nvmlReturn_t nvmlDeviceGetUUID(const void *of, char *to, unsigned size) {
  return only(of) ?: text(to, size, "GPU-00000000-0000-0000-0000-000000000000");
}
nvmlReturn_t nvmlDeviceGetMinorNumber(const void *of, unsigned *to) {
  *to = 0;
  return only(of);
}
nvmlReturn_t nvmlDeviceGetCudaComputeCapability(const void *of, int *major, int *minor) {
  *major = 7, *minor = 5;
  return only(of);
}
nvmlReturn_t nvmlDeviceGetPciInfo_v3(const void *of, nvmlPciInfo_t *to) {
  memset(to, 0, sizeof *to);
  to->device = 4, to->id = 0x1eb810de;
  strcpy(to->bus_id_legacy, "0000:00:04.0");
  strcpy(to->bus_id, "00000000:00:04.0");
  return only(of);
}
/* A T4 cannot be divided. */
nvmlReturn_t nvmlDeviceGetMigMode(const void *of, unsigned *now, unsigned *next) {
  *now = *next = 0;
  return only(of) ?: NOT_SUPPORTED;
}
nvmlReturn_t nvmlDeviceGetMaxMigDeviceCount(const void *of, unsigned *to) {
  *to = 0;
  return only(of);
}

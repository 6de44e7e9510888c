// What PyTorch asks of a GPU beside computing, for a build without CUDA: there is one.

#include <ATen/detail/CUDAHooksInterface.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>

namespace c10::impl {

const Device gpu(DeviceType::CUDA, 0);
const Stream stream(Stream::DEFAULT, gpu);

struct OneGPU final : NoOpDeviceGuardImpl<DeviceType::CUDA> {
  Device exchangeDevice(Device) const override { return gpu; }
  Device getDevice() const override { return gpu; }
  Stream getStream(Device) const noexcept override { return stream; }
  Stream exchangeStream(Stream) const noexcept override { return stream; }
};

C10_REGISTER_GUARD_IMPL(CUDA, OneGPU);

}  // namespace c10::impl

namespace at {

struct OneGPU final : CUDAHooksInterface {
  explicit OneGPU(CUDAHooksArgs) {}
  bool hasCUDA() const override { return true; }
  bool isBuilt() const override { return true; }
  bool isAvailable() const override { return true; }
  bool hasPrimaryContext(DeviceIndex) const override { return true; }
  int getNumGPUs() const override { return 1; }
  DeviceIndex deviceCount() const override { return 1; }
  DeviceIndex current_device() const override { return 0; }
  DeviceIndex getCurrentDevice() const override { return 0; }
  std::string showConfig() const override { return ""; }
};

C10_REGISTER_CLASS(CUDAHooksRegistry, CUDAHooks, OneGPU);

}  // namespace at

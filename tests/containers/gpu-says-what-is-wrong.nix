# The test of the GPUs says in one line that they work, or what does not and what mends
# it, and puts that before the owner's eyes. NVIDIA's programs are played.
{ modules }:
{
  name = "gpu-says-what-is-wrong";

  containers.machine =
    { pkgs, ... }:
    let
      smi = pkgs.writeShellScriptBin "nvidia-smi" ''
        cat /run/fake/smi
        exit "$(cat /run/fake/smi-status)"
      '';
      cuda = pkgs.runCommandCC "fake-cuda" { } ''
        mkdir -p $out/lib
        $CC -shared -fPIC -Wall -Wextra -Werror -o $out/lib/libcuda.so.1 ${../common/fake-cuda.c}
      '';
    in
    {
      imports = [ (modules.cuda + "/self-test.nix") ];
      workspace = {
        name = "alice";
        owner = "alice@acme.example";
      };
      hardware.nvidia.package =
        pkgs.runCommand "fake-driver"
          {
            outputs = [
              "out"
              "bin"
            ];
          }
          ''
            mkdir -p $out $bin
            ln -s ${smi}/bin $bin/bin
          '';
      systemd.tmpfiles.settings.driver."/run/opengl-driver"."L+".argument = "${cuda}";
      systemd.services.workspace-gpu.environment.SYSFS = "/run/fake/sys";
    };

  testScript = ''
    from shlex import quote

    L4 = "NVIDIA L4, 580.95.05, 23034 MiB\n"

    def gpus(*classes):
        machine.succeed("rm -rf /run/fake/sys")
        for i, number in enumerate(classes):
            device = f"/run/fake/sys/bus/pci/devices/{i}"
            machine.succeed(f"mkdir -p {device}", f"echo 0x10de > {device}/vendor", f"echo {number} > {device}/class")

    def nvidia_smi(says, status=0):
        machine.succeed(f"printf %s {quote(says)} > /run/fake/smi", f"echo {status} > /run/fake/smi-status")

    def cuda(failure=""):
        machine.succeed(f"echo {quote(failure)} > /run/fake/cuda")

    def containers(*names):
        devices = ", ".join(f'{{"name": "{name}"}}' for name in names)
        machine.succeed("mkdir -p /var/run/cdi", f"echo '{{\"devices\": [{devices}]}}' > /var/run/cdi/nvidia-container-toolkit.json")

    def all_well():
        gpus("0x030200")
        nvidia_smi(L4)
        cuda()
        containers("0", "all")

    def says(status):
        code, line = machine.execute("SYSFS=/run/fake/sys workspace-gpu")
        assert code == status, (code, line)
        assert line.count("\n") == 1 and line.startswith("GPU: "), line
        return line

    machine.start()
    machine.wait_for_unit("multi-user.target")
    machine.succeed("mkdir -p /run/fake")

    with subtest("all is well"):
        all_well()
        assert says(0) == "GPU: 1 x NVIDIA L4, driver 580.95.05: CUDA works, also in containers.\n"

    with subtest("two are well, and a switch between them is none"):
        gpus("0x030200", "0x030000", "0x068000")
        nvidia_smi(L4 + L4)
        assert says(0).startswith("GPU: 2 x NVIDIA L4,")

    for claim, break_it, expected in [
        ("none is attached", lambda: gpus(), "Choose a machine type with GPUs"),
        ("only a switch is attached", lambda: gpus("0x068000"), "Choose a machine type with GPUs"),
        (
            "the driver was updated and not the kernel's",
            lambda: nvidia_smi("Failed to initialize NVML: Driver/library version mismatch\n", 18),
            "Restart the machine.",
        ),
        ("the driver sees no device", lambda: nvidia_smi("No devices were found\n", 6), "though 1 are attached"),
        (
            "a GPU is lost",
            lambda: nvidia_smi("Unable to determine the device handle for GPU0000:00:04.0: GPU is lost.  Reboot the system to recover this GPU\n", 15),
            "stop the machine and start it again",
        ),
        (
            "the driver is not loaded",
            lambda: nvidia_smi("NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.\n", 9),
            "the driver is not loaded",
        ),
        ("something else is wrong", lambda: nvidia_smi("Failed: <x>\nmore\n", 3), "nvidia-smi fails: Failed: <x>."),
        ("one of two is missing", lambda: gpus("0x030200", "0x030200"), "finds 1 of 2"),
        ("CUDA waits for the fabric", lambda: cuda("cuInit CUDA_ERROR_SYSTEM_NOT_READY"), "systemctl status nvidia-fabricmanager"),
        ("CUDA does not start", lambda: cuda("cuInit CUDA_ERROR_UNKNOWN"), "CUDA fails: cuInit: CUDA_ERROR_UNKNOWN (999)"),
        ("a kernel does not run", lambda: cuda("cuLaunchKernel CUDA_ERROR_ECC_UNCORRECTABLE"), "cuLaunchKernel: CUDA_ERROR_ECC_UNCORRECTABLE"),
        ("a kernel computes nonsense", lambda: cuda("memory -"), "GPU 0 computed 0 where 22 is right"),
        ("containers get none", lambda: containers(), "containers get none"),
        ("there is no specification for containers", lambda: machine.succeed("rm /var/run/cdi/*") and None, "containers get none"),
    ]:
        with subtest(claim):
            all_well()
            break_it()
            line = says(1)
            assert expected in line, line

    with subtest("a failure is on the pages and in terminals, and goes when it is over"):
        all_well()
        cuda("cuInit CUDA_ERROR_UNKNOWN")
        machine.succeed("systemctl restart workspace-gpu")
        for notice in ["notice.html", "notice.txt", "gpu"]:
            assert "CUDA_ERROR_UNKNOWN" in machine.succeed(f"cat /run/workspace/{notice}")
        cuda()
        machine.succeed("systemctl restart workspace-gpu")
        machine.fail("test -e /run/workspace/notice.html")
        assert machine.succeed("cat /run/workspace/gpu").startswith("1 x NVIDIA L4")

    with subtest("no unit failed"):
        assert machine.succeed("systemctl --failed --no-legend") == ""
  '';
}

# The test of the GPUs says in one line that they work, or what does not and what mends
# it, and puts that before the owner's eyes. NVIDIA's programs are played.
{ modules }:
let
  agent = pkgs: pkgs.callPackage (modules.agent + "/package.nix") { };
in
{
  name = "gpu-says-what-is-wrong";

  containers.machine =
    { pkgs, ... }:
    let
      smi = pkgs.writeShellScriptBin "nvidia-smi" ''
        case $1 in
          --query-compute-apps=*) exec cat /run/fake/programs ;;
        esac
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
      environment.systemPackages = [ (agent pkgs) ];
    };

  containers.plain =
    { pkgs, ... }:
    {
      environment.systemPackages = [ (agent pkgs) ];
    };

  testScript = ''
    import json
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

    def programs(*numbers):
        machine.succeed("mkdir -p /run/fake", f"printf '%s\n' {' '.join(numbers)} > /run/fake/programs")

    def containers(*names):
        made = {"kind": "nvidia.com/gpu", "devices": [{"name": name} for name in names]}
        machine.succeed("mkdir -p /var/run/cdi", f"echo {quote(json.dumps(made))} > /var/run/cdi/nvidia-container-toolkit.json")

    def all_well():
        gpus("0x030200")
        nvidia_smi(L4)
        cuda()
        programs()
        containers("0", "all")

    def says(status):
        code, line = machine.execute("SYSFS=/run/fake/sys workspace-gpu")
        assert code == status, (code, line)
        assert line.count("\n") == 1 and line.startswith("GPU: "), line
        return line

    def steps(status):
        """What `workspace gpu` says of each step."""
        code, text = machine.execute("SYSFS=/run/fake/sys workspace gpu")
        assert code == status, (code, text)
        line, gap, *found = text.splitlines()
        assert line.startswith("GPU: ") and gap == "", text
        return dict(step.split(maxsplit=1) for step in found)

    start_all()
    machine.wait_for_unit("multi-user.target")
    machine.succeed("mkdir -p /run/fake")

    with subtest("all is well"):
        all_well()
        assert says(0) == "GPU: 1 x NVIDIA L4, driver 580.95.05: CUDA works, also in containers.\n"

    with subtest("two are well, and a switch between them is none"):
        gpus("0x030200", "0x030000", "0x068000")
        nvidia_smi(L4 + L4)
        assert says(0).startswith("GPU: 2 x NVIDIA L4,")

    with subtest("the owner reads what each step found"):
        assert steps(0) == {
            "attached": "2, at 0 1",
            "driver": "580.95.05, finds 2 x NVIDIA L4 with 23034 MiB",
            "CUDA": "13.0",
            "kernel": "ran on each, with the right result",
            "containers": "nvidia.com/gpu=0, nvidia.com/gpu=all",
        }, steps(0)

    with subtest("who was told to see none is told of all the same"):
        assert "2 x NVIDIA L4" in machine.succeed("SYSFS=/run/fake/sys CUDA_VISIBLE_DEVICES= workspace-gpu")

    for reason in ["CUDA_ERROR_OUT_OF_MEMORY", "CUDA_ERROR_DEVICE_UNAVAILABLE"]:
        with subtest(f"a program that takes all of a GPU is no failure: {reason}"):
            all_well()
            cuda(f"cuDevicePrimaryCtxRetain {reason}")
            programs("4711")
            assert says(0) == "GPU: 1 x NVIDIA L4, driver 580.95.05: in use, with no room for a test; containers get it too.\n"
            assert steps(0)["kernel"] == "none was run, as programs leave no room for one"
            programs()
            assert reason in says(1)

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

    with subtest("the step that fails is named, and those after it are not tried"):
        all_well()
        cuda("cuLaunchKernel CUDA_ERROR_ECC_UNCORRECTABLE")
        assert steps(1) == {
            "attached": "1, at 0",
            "driver": "580.95.05, finds 1 x NVIDIA L4 with 23034 MiB",
            "CUDA": "13.0",
            "kernel": "fails",
            "containers": "not tried",
        }, steps(1)
        cuda("cuInit CUDA_ERROR_UNKNOWN")
        assert (steps(1)["CUDA"], steps(1)["kernel"]) == ("fails", "not tried"), steps(1)

    with subtest("a machine without says so in one sentence"):
        code, text = plain.execute("workspace gpu 2>&1")
        assert code == 3 and text.count("\n") == 1 and "this machine has no GPU" in text, (code, text)

    with subtest("an option that is none is refused"):
        code, text = machine.execute("workspace-gpu --all 2>&1")
        assert code == 2 and "--steps" in text, (code, text)

    with subtest("a failure is on the pages and in terminals, and goes when it is over"):
        all_well()
        cuda("cuInit CUDA_ERROR_UNKNOWN")
        machine.succeed("systemctl restart workspace-gpu")
        for notice in ["notice.html", "notice.txt", "gpu"]:
            assert "CUDA_ERROR_UNKNOWN" in machine.succeed(f"cat /run/workspace/{notice}")
        cuda()
        machine.succeed("systemctl restart workspace-gpu")
        machine.fail("test -e /run/workspace/notice.txt")
        assert machine.succeed("cat /run/workspace/gpu") == "1 x NVIDIA L4, driver 580.95.05: CUDA works, also in containers.\n"

    with subtest("that they work is on the pages, without the driver's version"):
        page = machine.succeed("cat /run/workspace/notice.html")
        assert "<strong>GPU: 1 x NVIDIA L4:</strong> CUDA works, also in containers." in page, page
        assert 'class="notice good"' in page and "580" not in page, page

    with subtest("it is looked at again every hour"):
        assert "OnUnitInactiveUSec=1h" in machine.succeed("systemctl show --property=TimersMonotonic workspace-gpu.timer")

    with subtest("no unit failed"):
        for each in [machine, plain]:
            assert each.succeed("systemctl --failed --no-legend") == ""
  '';
}

# A machine with a GPU has a CDI specification of it, made by NVIDIA's container toolkit, and
# docker takes it. It is made anew without docker, and a GPU that does not answer leaves docker
# alone. The toolkit is NVIDIA's own; the driver's library that it asks, and the devices, are played.
{ modules }:
{
  name = "gpus-are-offered-to-containers";

  containers.machine =
    { lib, pkgs, ... }:
    let
      driver =
        pkgs.runCommandCC "fake-driver"
          {
            outputs = [
              "out"
              "bin"
            ];
          }
          ''
            mkdir -p $out/lib $bin/bin
            $CC -shared -fPIC -Wall -Wextra -Werror -Wl,-soname,libnvidia-ml.so.1 \
              -o $out/lib/libnvidia-ml.so.580.95.05 ${../common/fake-nvml.c}
            $CC -shared -fPIC -Wall -Wextra -Werror -Wl,-soname,libcuda.so.1 \
              -o $out/lib/libcuda.so.580.95.05 ${../common/fake-cuda.c}
            for library in nvidia-ml cuda; do
              ln -s lib$library.so.580.95.05 $out/lib/lib$library.so.1
            done
            install -m 755 ${pkgs.writeScript "nvidia-smi" "#!${pkgs.runtimeShell}\n"} $bin/bin/nvidia-smi
          '';
    in
    {
      imports = [
        modules.containers
        (modules.cuda + "/containers.nix")
      ];
      workspace = {
        name = "alice";
        owner = "alice@acme.example";
      };
      hardware = {
        nvidia.package = driver;
        # The driver is played.
        nvidia-container-toolkit.suppressNvidiaDriverAssertion = true;
        graphics = {
          enable = true;
          package = driver;
          extraPackages = lib.mkForce [ ];
        };
      };
      # No container may make devices: other ones in their place.
      systemd.services.fake-devices = {
        wantedBy = [ "multi-user.target" ];
        before = [ "nvidia-container-toolkit-cdi-generator.service" ];
        serviceConfig = {
          Type = "oneshot";
          RemainAfterExit = true;
        };
        script = ''
          for device in nvidiactl nvidia0 nvidia-uvm nvidia-uvm-tools; do
            touch /dev/$device
            mount --bind /dev/null /dev/$device
          done
        '';
        path = [ pkgs.util-linux ];
      };
    };

  testScript =
    { containers, ... }:
    let
      toolkit = containers.machine.hardware.nvidia-container-toolkit.package;
    in
    ''
      import json

      SPECIFICATION = "/var/run/cdi/nvidia-container-toolkit.json"
      GENERATOR = "nvidia-container-toolkit-cdi-generator"

      def docker_finds_them():
          machine.wait_until_succeeds("docker info --format '{{json .DiscoveredDevices}}' | grep --fixed-strings nvidia.com/gpu=all", timeout=60)

      def docker_process():
          return machine.succeed("systemctl show --property=MainPID --value docker").strip()

      machine.start()
      machine.wait_for_unit("multi-user.target")
      machine.wait_for_unit("docker.service")

      # Where packages are played, status 127 says that there is nothing behind this one.
      if machine.execute("${toolkit}/bin/nvidia-ctk --version")[0] == 127:
          print("NOT SHOWN: NVIDIA's container toolkit is not available here")
          raise SystemExit

      with subtest("the specification has the GPU, and all of them by one name"):
          made = json.loads(machine.succeed(f"cat {SPECIFICATION}"))
          assert made["kind"] == "nvidia.com/gpu", made
          devices = {device["name"]: device["containerEdits"]["deviceNodes"] for device in made["devices"]}
          assert devices.keys() == {"0", "all"}, devices
          assert [node["path"] for node in devices["all"]] == ["/dev/nvidia0"], devices

      with subtest("a container gets what each program needs beside it"):
          edits = made["containerEdits"]
          nodes = {node["path"] for node in edits["deviceNodes"]}
          assert {"/dev/nvidiactl", "/dev/nvidia-uvm", "/dev/nvidia-uvm-tools"} <= nodes, nodes
          mounts = {mount["containerPath"]: mount["hostPath"] for mount in edits["mounts"]}
          assert any(path.endswith("/libcuda.so.580.95.05") for path in mounts), mounts
          assert "/usr/bin/nvidia-smi" in mounts and "/run/opengl-driver" in mounts, mounts
          for path in [*mounts.values(), *(hook["path"] for hook in edits["hooks"])]:
              machine.succeed(f"test -e {path}")

      with subtest("docker takes it"):
          assert "/var/run/cdi" in machine.succeed("docker info --format '{{json .CDISpecDirs}}'")
          docker_finds_them()

      with subtest("it is made anew while docker runs on"):
          before = docker_process()
          machine.succeed(f"rm {SPECIFICATION}", f"systemctl restart {GENERATOR}")
          assert json.loads(machine.succeed(f"cat {SPECIFICATION}")) == made
          assert docker_process() == before != "0"
          docker_finds_them()

      with subtest("a GPU that does not answer leaves docker alone"):
          machine.succeed("umount /dev/nvidia0", "rm /dev/nvidia0")
          machine.fail(f"systemctl restart {GENERATOR}")
          assert docker_process() == before
          machine.succeed("systemctl restart docker", "docker info")

      with subtest("docker finds one that answers again"):
          before = docker_process()
          machine.succeed("systemctl restart fake-devices", f"systemctl restart {GENERATOR}")
          docker_finds_them()
          assert docker_process() == before
          assert machine.succeed("systemctl --failed --no-legend") == ""
    '';
}

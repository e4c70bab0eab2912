# Whether the GPUs work, and if not why and what mends it: at boot, every hour, and for
# whoever asks.
{
  config,
  lib,
  options,
  pkgs,
  ...
}:
let
  driver = config.hardware.nvidia.package;

  # Runs one kernel on each GPU. Knows the driver's interface alone, so that it needs
  # neither CUDA's compiler nor its libraries.
  runKernel = pkgs.runCommandCC "gpu-run-kernel" { meta.mainProgram = "gpu-run-kernel"; } ''
    mkdir -p $out/bin
    $CC -O2 -Wall -Wextra -Werror -o $out/bin/gpu-run-kernel ${./run-kernel.c} -ldl
  '';

  selfTest = pkgs.writeShellApplication {
    name = "workspace-gpu";
    runtimeInputs = [
      driver.bin
      runKernel
      pkgs.coreutils
      pkgs.gnugrep
      pkgs.gnused
      pkgs.jq
      config.workspace.noticeCommand
    ];
    text = builtins.readFile ./self-test.sh;
  };
in
{
  imports = [ ../../workspace ];

  config = {
    environment.systemPackages = [ selfTest ];

    # An update that the GPUs do not work with is taken back.
    workspace = lib.optionalAttrs (options.workspace ? health) {
      health.checks.gpu.command = lib.getExe selfTest;
    };

    systemd.services.workspace-gpu = {
      description = "Test of the GPUs";
      wantedBy = [ "multi-user.target" ];
      after = [
        "nvidia-persistenced.service"
        "nvidia-fabricmanager.service"
        "nvidia-container-toolkit-cdi-generator.service"
      ];
      serviceConfig = {
        Type = "oneshot";
        ExecStart = "${lib.getExe selfTest} --report";
        # What it finds is news, not a failure of the machine.
        SuccessExitStatus = 1;
        TimeoutStartSec = "3min";
      };
    };
    # A GPU can stop answering at any time.
    systemd.timers.workspace-gpu = {
      wantedBy = [ "timers.target" ];
      timerConfig.OnUnitInactiveSec = "1h";
    };
  };
}

# NVIDIA GPUs: the driver, CUDA for programs from nixpkgs and from elsewhere, the devices
# in containers, and a test at boot that says whether all of it works.
{
  config,
  lib,
  modulesPath,
  pkgs,
  ...
}:
let
  inherit (lib) mkIf mkOption types;
  cfg = config.workspace.cuda;
  driver = config.hardware.nvidia.package;

  nvidiaLicences =
    (import "${modulesPath}/../../pkgs/development/cuda-modules/_cuda").lib.allowUnfreeCudaPredicate;

  # The driver's libraries, for programs that know nothing of NixOS. They are wherever
  # the running driver is, so these links lead there.
  driverLibraries = pkgs.runCommand "cuda-driver-libraries" { } ''
    mkdir -p $out/lib
    for library in libcuda.so libcuda.so.1 libcudadebugger.so.1 libnvcuvid.so.1 libnvidia-encode.so.1 \
      libnvidia-ml.so.1 libnvidia-nvvm.so.4 libnvidia-opticalflow.so.1 libnvidia-ptxjitcompiler.so.1; do
      ln -s ${pkgs.addDriverRunpath.driverLink}/lib/$library $out/lib/$library
    done
  '';

  # NVSwitches are bridges (class 0680) of NVIDIA's.
  hasNvSwitch = pkgs.writeShellApplication {
    name = "has-nvswitch";
    runtimeInputs = [ pkgs.gnugrep ];
    text = ''
      for device in /sys/bus/pci/devices/*; do
        if grep -q 0x10de "$device/vendor" && grep -q '^0x0680' "$device/class"; then
          exit 0
        fi
      done
      exit 1
    '';
  };
in
{
  imports = [
    ./containers.nix
    ./self-test.nix
  ];

  options.workspace.cuda = {
    capability = mkOption {
      type = types.nullOr (types.strMatching "[0-9]+\\.[0-9]+a?");
      default = null;
      description = ''
        Compute capability of this machine's GPU. It changes nothing by itself, see
        {option}`workspace.cuda.narrow`.
      '';
      example = "8.9";
    };

    narrow = mkOption {
      type = types.bool;
      default = false;
      description = ''
        Whether `pkgsCuda` builds for this machine's GPU alone. Its programs become smaller, and
        no public cache has them: PyTorch alone takes hours to build.
      '';
      example = true;
    };

    cache = {
      enable = mkOption {
        type = types.bool;
        default = true;
        description = "Whether to fetch CUDA programs of nixpkgs from a public cache instead of building them for hours.";
        example = false;
      };
      url = mkOption {
        type = types.str;
        default = "https://cache.nixos-cuda.org";
        description = "Address of the cache. The default is that of nixpkgs' CUDA team.";
        example = "https://nix.acme.example/cuda";
      };
      publicKey = mkOption {
        type = types.str;
        default = "cache.nixos-cuda.org:74DUi4Ye579gUqzH4ziL9IyiJBlDpMRn9MBN8oNan9M=";
        description = "Key that the cache signs with.";
        example = "nix.acme.example:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
      };
    };
  };

  config = {
    assertions = [
      {
        assertion = cfg.narrow -> cfg.capability != null;
        message = "workspace.cuda.narrow: needs to know the GPU; set workspace.cuda.capability to its compute capability, such as \"8.9\" for an L4.";
      }
    ];

    hardware.nvidia = {
      # NVIDIA's branch for servers: the default CUDA of nixpkgs is made for it, and it has
      # the fabric manager.
      datacenter.enable = true;
      # Open from Turing (T4) on, which is the oldest GPU a fleet can have, and the only
      # ones for the newest.
      open = lib.mkDefault true;
      # Else each first program waits for the driver to wake the GPU.
      nvidiaPersistenced = lib.mkDefault true;
    };
    # The open kernel modules run it on the GPU.
    hardware.firmware = [ driver.firmware ];
    # /run/opengl-driver, where programs of nixpkgs look for the driver. There is no screen:
    # it holds neither Mesa nor the platforms of windows, which are larger than the rest.
    hardware.graphics = {
      enable = true;
      package = driver.out;
      extraPackages = lib.mkForce [ ];
    };

    # Without it CUDA waits for ever on machines whose GPUs are connected by NVSwitches;
    # on others it cannot start.
    systemd.services.nvidia-fabricmanager.serviceConfig.ExecCondition = lib.getExe hasNvSwitch;

    # Wheels of PyPI find the driver among the libraries of nix-ld.
    programs.nix-ld.libraries = [ driverLibraries ];

    nixpkgs.config = {
      allowUnfreePredicate =
        package:
        builtins.elem (lib.getName package) [
          "fabricmanager"
          "nvidia-dc"
          "nvidia-persistenced"
        ]
        || nvidiaLicences package;
      # Never cudaSupport: with it the system itself would be built anew. `pkgsCuda` has it.
      cudaCapabilities = mkIf (cfg.narrow && cfg.capability != null) [ cfg.capability ];
    };

    nix.settings = mkIf cfg.cache.enable {
      substituters = [ cfg.cache.url ];
      trusted-public-keys = [ cfg.cache.publicKey ];
    };
  };
}

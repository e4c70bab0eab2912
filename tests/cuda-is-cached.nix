# The image cuda is made of packages that public caches have: the system's own are built
# without CUDA, those of pkgsCuda for every GPU, and PyTorch is not among what it needs.
{
  modules,
  nixpkgs,
  pkgs,
}:
let
  inherit (pkgs) lib;
  inherit (pkgs.stdenv.hostPlatform) system;
  image = (import ../hosts { inherit modules nixpkgs; }).profiles.cuda;

  # As the caches' own builders read nixpkgs.
  plain =
    config:
    import nixpkgs {
      inherit system;
      config = config // {
        allowUnfree = true;
      };
    };
  same =
    what: ours: theirs:
    lib.assertMsg (
      ours.drvPath == theirs.drvPath
    ) "cuda-is-cached: ${what} of the image cuda is not that of the public cache";

  system' = plain { };
  cuda = plain { cudaSupport = true; };

  # What takes hours to build ends the evaluation of whatever needs it.
  dear = lib.flip lib.genAttrs (
    name: throw "cuda-is-cached: the image cuda needs ${name}, which takes hours to build"
  );
  trapped = image.extendModules {
    modules = [
      {
        nixpkgs.overlays = [
          (
            _final: previous:
            {
              pythonPackagesExtensions = previous.pythonPackagesExtensions ++ [
                (
                  _final: _previous:
                  dear [
                    "jax"
                    "tensorflow"
                    "torch"
                    "triton"
                  ]
                )
              ];
            }
            // dear [
              "magma"
              "opencv"
            ]
          )
        ];
      }
    ];
  };
in
assert lib.assertMsg (
  !image.pkgs.config.cudaSupport && image.pkgs.config.cudaCapabilities == cuda.config.cudaCapabilities
) "cuda-is-cached: the image cuda is configured otherwise than the public cache";
assert lib.all (name: same name image.pkgs.${name} system'.${name}) [
  "curl"
  "docker"
  "ffmpeg"
  "nginx"
  "oauth2-proxy"
  "opencv"
  "openvscode-server"
  "systemd"
];
assert same "PyTorch" image.pkgs.pkgsCuda.python3Packages.torch cuda.python3Packages.torch;
assert same "nvcc" image.pkgs.pkgsCuda.cudaPackages.cuda_nvcc cuda.cudaPackages.cuda_nvcc;
pkgs.writeText "cuda-is-cached" (
  builtins.unsafeDiscardStringContext trapped.config.system.build.image.drvPath
)

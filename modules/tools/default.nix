# What a data scientist expects on the command line, and what makes projects bring the
# rest themselves: flakes that resolve without a network, direnv, uv, and libraries for
# programs that were not built for NixOS.
{ lib, pkgs, ... }:
let
  inherit (lib) mkDefault;
in
{
  imports = [
    ../workspace
    ./buckets.nix
  ];

  environment.systemPackages = [
    pkgs.fd
    pkgs.file
    pkgs.gh
    pkgs.gnumake
    pkgs.google-cloud-sdk
    pkgs.htop
    pkgs.jq
    pkgs.ripgrep
    pkgs.rsync
    pkgs.tmux
    pkgs.tree
    pkgs.unzip
    pkgs.uv
    pkgs.wget
    pkgs.zip
  ];
  programs.git = {
    enable = true;
    lfs.enable = true;
  };
  programs.vim.enable = true;

  # Entering a folder with a flake gives its tools; the shell is kept from the garbage
  # collector as long as the folder is there.
  programs.direnv.enable = true;

  nix = {
    channel.enable = mkDefault false;
    settings = {
      experimental-features = [
        "nix-command"
        "flakes"
      ];
      # Nix asks the global registry even for a name that the system's one has, and without a
      # network fails over it. Other flakes go by their full name, `github:OWNER/REPOSITORY`.
      flake-registry = mkDefault "";
    };
  };
  # `nixpkgs` in a command is the one that this system was made of: what it has is not
  # fetched again, and no network is needed to look at it.
  # Said here also for systems that nixpkgs' own `nixosSystem` has not made.
  nixpkgs.flake = {
    source = mkDefault (
      builtins.path {
        path = pkgs.path;
        name = "source";
      }
    );
    setFlakeRegistry = true;
    setNixPath = true;
  };
  # `nix flake init --template templates#python`
  nix.registry.templates.to = {
    type = "path";
    # Nix takes a path of the store as it is only by this name.
    path = builtins.path {
      path = ../../templates;
      name = "source";
    };
  };

  # Wheels from PyPI, and the Python that uv fetches, look for their loader and for the
  # libraries that their policy expects of every Linux, https://peps.python.org/pep-0599/.
  programs.nix-ld = {
    enable = true;
    libraries = pkgs.pythonManylinuxPackages.manylinux2014;
  };
}

# JupyterLab is behind the gateway's login and asks for none of its own: its page, its REST
# API and a kernel's websocket work from the workspace's own pages, and from no others. The
# kernels of projects are offered, and a kernel lives through a switch.
{ modules }:
let
  domain = "alice.endpoints.acme-data-science.cloud.goog";
in
{
  name = "jupyter-behind-login";

  containers.workspace =
    {
      config,
      extendModules,
      pkgs,
      ...
    }:
    {
      imports = [
        (import ../common/public-workspace.nix { inherit modules; })
        modules.jupyter
      ];
      workspace.jupyter.enable = true;
      programs.direnv.enable = true;
      environment.etc."notebook".source = pkgs.writeShellScript "notebook" ''
        exec ${
          pkgs.python3.withPackages (python: [ python.websockets ])
        }/bin/python3 ${../common/notebook.py} "$@"
      '';
      # What a project's environment is made of here.
      environment.etc."project-python".source = config.workspace.jupyter.package;
      system.switch.enable = true;
      system.build.changed =
        (extendModules {
          modules = [
            {
              workspace.apps.other.port = 9999;
              systemd.services.jupyterlab.environment.CHANGED = "yes";
            }
          ];
        }).config.system.build.toplevel;
    };

  testScript =
    { containers, ... }:
    let
      jupyter = containers.workspace.workspace.jupyter.package;
    in
    ''
      import shlex

      site = "https://${domain}"
      curl = "curl --silent --show-error --insecure --max-time 20"

      def status_of(path, more=""):
          return workspace.succeed(f"{curl} {more} --output /dev/null --write-out '%{{http_code}} %{{redirect_url}}' '{site}{path}'")

      def notebook(*arguments):
          return workspace.succeed(shlex.join(["/etc/notebook", site, cookie, *arguments])).strip()

      # Where packages are played, status 127 says that there is nothing behind this one.
      if workspace.execute("${jupyter}/bin/jupyter-lab --version")[0] == 127:
          print("NOT SHOWN: JupyterLab is not available here")
          raise SystemExit(0)

      workspace.wait_for_unit("jupyterlab.service")
      workspace.wait_for_unit("nginx.service")
      workspace.wait_for_unit("oauth2-proxy.service")

      with subtest("without a session it leads to the login"):
          for path in ["/apps/jupyter/lab", "/apps/jupyter/api/kernels", "/apps/jupyter/api"]:
              assert status_of(path) == f"302 {site}/oauth2/sign_in?rd={path}", path

      with subtest("with one there is no second login"):
          cookie = workspace.wait_until_succeeds("sign-in", timeout=60).strip()
          assert status_of("/apps/jupyter/", f"--cookie '{cookie}'") == f"302 {site}/apps/jupyter/lab"

      with subtest("a kernel computes"):
          kernel = notebook("start", "python3")
          assert notebook("run", kernel, "1 + 1") == "2"
          assert notebook("run", kernel, "import getpass; print(getpass.getuser())") == "alice"

      with subtest("a request that a page of somebody else's could forge is refused"):
          status = status_of("/apps/jupyter/api/kernels", f"--cookie '{cookie}' --request POST --data '{{}}'")
          assert status == "403 ", status

      with subtest("no token is in the unit or in an argument"):
          assert "token= " in workspace.succeed("ps -ww -u alice -o args | grep 'jupyter-lab '")
          workspace.fail("journalctl --unit jupyterlab | grep 'token=.'")

      with subtest("the kernel of a notebook's project is that of its direnv"):
          workspace.succeed(
              "runuser -u alice -- mkdir /home/alice/project",
              "runuser -u alice -- sh -c 'echo \"PATH_add $(realpath /etc/project-python)/bin; export GREETING=hello\" > /home/alice/project/.envrc'",
              "runuser -u alice -- sh -c 'cd /home/alice/project && direnv allow'",
          )
          of_project = notebook("start", "project")
          assert notebook("run", of_project, "import os; print(os.environ['GREETING'], os.getcwd())") == "hello /home/alice/project"

      with subtest("or of its virtual environment"):
          workspace.succeed(
              "rm /home/alice/project/.envrc",
              "runuser -u alice -- mkdir -p /home/alice/project/.venv/bin",
              "runuser -u alice -- sh -c 'printf \"#!/bin/sh\\nVENV=yes exec %s/bin/python3 \\\"\\$@\\\"\\n\" \"$(realpath /etc/project-python)\" > /home/alice/project/.venv/bin/python'",
              "chmod +x /home/alice/project/.venv/bin/python",
          )
          of_project = notebook("start", "project")
          assert notebook("run", of_project, "import os; print(os.environ['VENV'])") == "yes"

      with subtest("a kernel lives through a switch, and what is in it"):
          server = workspace.succeed("systemctl show --property MainPID --value jupyterlab")
          notebook("run", kernel, "answer = 42")
          workspace.succeed("${containers.workspace.system.build.changed}/bin/switch-to-configuration test >&2")
          assert notebook("run", kernel, "answer") == "42"
          assert workspace.succeed("systemctl show --property MainPID --value jupyterlab") == server

      with subtest("and its server waits for it before it is restarted"):
          workspace.succeed("systemctl start workspace-restart-when-idle")
          workspace.succeed("journalctl --unit workspace-restart-when-idle | grep 'jupyterlab waits for its restart: at work is'")
          assert notebook("run", kernel, "answer") == "42"

      assert workspace.succeed("systemctl --failed --no-legend") == ""
    '';
}

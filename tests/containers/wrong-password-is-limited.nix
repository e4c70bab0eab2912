# Whoever guesses passwords is slowed down, by the address they come from: the owner gets in
# from elsewhere, and stays in.
{ modules }:
let
  domain = "alice.endpoints.acme-data-science.cloud.goog";
  visitor =
    { containers, pkgs, ... }:
    {
      networking.hosts.${containers.workspace.networking.primaryIPAddress} = [ domain ];
      environment.systemPackages = [ pkgs.curl ];
    };
in
{
  name = "wrong-password-is-limited";

  containers.workspace.imports = [
    modules.gateway
    ../common/password-login.nix
  ];
  containers.guesser = visitor;
  containers.elsewhere = visitor;

  testScript = builtins.readFile ../common/browser.py + ''
    start_all()
    here = Browser(guesser, "https://${domain}")
    there = Browser(elsewhere, "https://${domain}")
    here.wait_for_login()
    there.wait_for_login()

    with subtest("somebody is signed in at the address that guesses will come from"):
        assert here.sign_in() == "302 https://${domain}/edit/"
        guesser.succeed("cp /tmp/cookies /tmp/signed-in")

    with subtest("a few mistakes are answered, many are not looked at"):
        here.forget()
        guesses = [here.sign_in("wrong") for _ in range(40)]
        answered = guesses.count("401 ")
        assert 15 <= answered <= 30 and answered + guesses.count("429 ") == 40, guesses

    with subtest("not even the right password is, in whatever way the path is written"):
        for path in [
            "/oauth2/sign_in",
            "/oauth2/sign_in?rd=/",
            "/oauth2//sign_in",
            "/oauth2/./sign_in",
            "/oauth2/x/../sign_in",
            "/oauth2/%73ign_in",
            "/oauth2%2Fsign_in",
            "/oauth2/sign_in/",
            "/oauth2/sign_in/.",
            "/oauth2/start/../sign_in",
            "/OAUTH2/sign_in",
        ]:
            status = here.sign_in(options="--path-as-is", path=path)
            assert status == "429 " or not here.signed_in(), (path, status)
            assert not status.startswith("401"), (path, status)

    with subtest("a session at that address goes on, and the page still opens"):
        guesser.succeed("cp /tmp/signed-in /tmp/cookies")
        assert here.signed_in()
        here.forget()
        assert here.status("/oauth2/sign_in") == "200 "

    with subtest("the owner gets in from elsewhere"):
        assert there.sign_in() == "302 https://${domain}/edit/"
        assert there.signed_in()

    with subtest("and after a while from here as well"):
        retry(lambda _: here.sign_in().startswith("302"), timeout_seconds=60)
  '';
}

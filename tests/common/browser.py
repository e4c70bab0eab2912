# A browser as far as curl is one: it keeps cookies, and says where it was led.
# To stand before a test's script.


class Browser:
    def __init__(self, machine, site, options="--insecure"):
        self.machine = machine
        self.site = site
        self.curl = f"curl --silent --show-error --max-time 60 {options}"

    def run(self, path, options=""):
        url = path if path.startswith("http") else self.site + path
        return self.machine.succeed(f"{self.curl} --cookie /tmp/cookies --cookie-jar /tmp/cookies {options} '{url}'")

    def status(self, path, options=""):
        """`302 https://…`, or a status and a space where nothing leads on. The page is in /tmp/page."""
        return self.run(path, f"--output /tmp/page --write-out '%{{http_code}} %{{redirect_url}}' {options}")

    def page(self):
        return self.machine.succeed("cat /tmp/page")

    def sign_in(self, password="correct horse battery staple", options="", path="/oauth2/sign_in"):
        return self.status(
            path,
            f"--data-urlencode username=alice@acme.example --data-urlencode 'password={password}' --data-urlencode rd=/edit/ {options}",
        )

    def signed_in(self):
        return self.status("/oauth2/auth") == "202 "

    def forget(self):
        self.machine.succeed("rm -f /tmp/cookies")

    def wait_for_login(self):
        # Without the cookies, as the page of the login ends a session.
        self.machine.wait_until_succeeds(f"{self.curl} --fail --output /dev/null {self.site}/oauth2/sign_in", timeout=120)

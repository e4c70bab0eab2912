# Fits, and makes the machine fail a check of its health.
{
  environment.etc.unwell.text = "";
}

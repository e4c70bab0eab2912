import pytest
import torch

from fit import fit

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")


@pytest.mark.parametrize("where", ["cpu", pytest.param("cuda", marks=needs_gpu)])
def test_a_line_is_found(where):
    x = torch.linspace(-1, 1, 1000, device=where)
    slope, intercept = fit(x, 2 * x + 1)
    assert slope == pytest.approx(2, abs=0.01)
    assert intercept == pytest.approx(1, abs=0.01)

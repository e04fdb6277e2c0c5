"""Unsupervised codes: against NumPy written apart, on data whose answer is known, and their errors."""

import math

import numpy as np
import pytest
import torch

from dhida_lib.unsupervised import ITQ, PCAHash, RandomHyperplanes

N, D, K = 60, 9, 4
METHODS = [RandomHyperplanes, PCAHash, ITQ]


def features(seed=0, n=N, d=D):
    """Correlated features with a mean far from zero."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)) @ rng.normal(size=(d, d)) * np.linspace(2, 0.3, d) + 5.0


@pytest.mark.parametrize("method", METHODS)
def test_codes_have_the_promised_form(method):
    hasher = method(K)
    assert hasher.fit(features()) is hasher
    codes = hasher.encode(features(1, n=13))
    assert codes.shape == (13, K)
    assert codes.dtype == torch.float32
    assert set(codes.unique().tolist()) == {-1.0, 1.0}


@pytest.mark.parametrize("method", METHODS)
def test_arrays_tensors_and_pixels_alike(method):
    x = (np.abs(features()) * 10).astype(np.uint8)
    expected = method(K).fit(x).encode(x)
    for form in (torch.from_numpy(x), x.astype(np.float64), torch.from_numpy(x).float().requires_grad_()):
        assert torch.equal(method(K).fit(form).encode(form), expected)


@pytest.mark.parametrize("method", METHODS)
def test_codes_do_not_depend_on_an_offset_or_on_the_other_rows(method):
    x = features()
    hasher = method(K).fit(x)
    codes = hasher.encode(x)
    assert torch.equal(method(K).fit(x + 100).encode(x + 100), codes)
    assert torch.equal(torch.cat([hasher.encode(row[None]) for row in x]), codes)
    assert 0.15 < (codes > 0).float().mean() < 0.85  # the planes pass through the middle of the data


def test_large_sets_are_encoded_in_parts():
    x = torch.randn(8192 + 3, 2, generator=torch.Generator().manual_seed(0))
    hasher = PCAHash(2).fit(x[:50])
    assert torch.equal(hasher.encode(x)[8190:], hasher.encode(x[8190:]))


def test_hyperplanes_follow_the_seed():
    x = features()
    assert torch.equal(RandomHyperplanes(K, 3).fit(x).encode(x), RandomHyperplanes(K, 3).fit(x).encode(x))
    assert not torch.equal(RandomHyperplanes(K, 3).fit(x).encode(x), RandomHyperplanes(K, 4).fit(x).encode(x))


def test_hyperplanes_estimate_the_angle():
    """Two vectors at angle φ differ in φ/π of the bits; more bits than dimensions are allowed here."""
    phi = 1.0
    x = torch.tensor(
        [[1.0, 0.0], [math.cos(phi), math.sin(phi)], [-1.0, 0.0], [-math.cos(phi), -math.sin(phi)]]
    )
    codes = RandomHyperplanes(20_000).fit(x).encode(x)  # their mean is zero
    assert (codes[0] != codes[1]).double().mean().item() == pytest.approx(phi / math.pi, abs=0.015)
    assert torch.equal(codes[0], -codes[2])


def test_pca_is_numpys_svd():
    x = features()
    centred = x - x.mean(axis=0)
    axes = np.linalg.svd(centred)[2][:K]  # K×d
    for axis in axes:  # the sign convention: the entry of largest size is positive
        if axis[np.argmax(np.abs(axis))] < 0:
            axis *= -1
    hasher = PCAHash(K).fit(x)
    np.testing.assert_allclose(hasher.projection_.numpy(), axes.T, atol=1e-8)
    np.testing.assert_array_equal(hasher.encode(x).numpy(), np.where(centred @ axes.T >= 0, 1, -1))


def test_the_solvers_choice_of_sign_does_not_matter(monkeypatch):
    x = features()
    pca, itq = PCAHash(K).fit(x).encode(x), ITQ(K).fit(x).encode(x)
    eigh, qr = torch.linalg.eigh, torch.linalg.qr
    flips = torch.tensor([1.0, -1.0] * D, dtype=torch.float64)

    def other_signs(matrix):
        values, vectors = eigh(matrix)
        return values, vectors * flips[:D]

    def other_rotation(matrix):
        q, t = qr(matrix)
        return q * flips[:K], flips[:K, None] * t

    monkeypatch.setattr(torch.linalg, "eigh", other_signs)
    monkeypatch.setattr(torch.linalg, "qr", other_rotation)
    assert torch.equal(PCAHash(K).fit(x).encode(x), pca)
    assert torch.equal(ITQ(K).fit(x).encode(x), itq)


@pytest.mark.parametrize("seed", range(5))
def test_itq_error_never_rises(seed):
    itq = ITQ(K, iterations=30, seed=seed).fit(features(seed))
    assert len(itq.errors_) == 31
    assert all(later <= before + 1e-12 for before, later in zip(itq.errors_, itq.errors_[1:], strict=False))
    assert itq.errors_[-1] < itq.errors_[0]


def test_itq_turns_the_principal_components():
    x = features()
    pca, itq = PCAHash(K).fit(x), ITQ(K).fit(x)
    R = pca.projection_.T @ itq.projection_
    torch.testing.assert_close(R.T @ R, torch.eye(K, dtype=torch.float64), rtol=0, atol=1e-10)
    torch.testing.assert_close(pca.projection_ @ R, itq.projection_, rtol=0, atol=1e-10)
    v = (x - x.mean(axis=0)) @ itq.projection_.numpy()
    assert itq.errors_[-1] == pytest.approx(((np.where(v >= 0, 1, -1) - v) ** 2).mean(), abs=1e-10)


def test_itq_one_iteration_is_the_procrustes_rotation():
    """A step apart from the library: from errors_[0]'s rotation to errors_[1]'s, in NumPy."""
    x = features(2)
    v = (x - x.mean(axis=0)) @ PCAHash(K).fit(x).projection_.numpy()
    gauss = torch.randn(K, K, generator=torch.Generator().manual_seed(7), dtype=torch.float64).numpy()
    q, t = np.linalg.qr(gauss)
    r = q * np.sign(np.diag(t))
    itq = ITQ(K, iterations=1, seed=7).fit(x)
    assert itq.errors_[0] == pytest.approx(((np.where(v @ r >= 0, 1, -1) - v @ r) ** 2).mean(), abs=1e-10)
    left, _, right = np.linalg.svd(np.where(v @ r >= 0, 1, -1).T @ v)  # BᵀV = SΩŜᵀ, R = ŜSᵀ
    r = right.T @ left.T
    assert itq.errors_[1] == pytest.approx(((np.where(v @ r >= 0, 1, -1) - v @ r) ** 2).mean(), abs=1e-10)


def test_itq_finds_the_corners_of_a_turned_cube():
    """Points near ±1 corners, turned: PCA's axes split them badly, ITQ turns them back."""
    rng = np.random.default_rng(0)
    corners = rng.choice([-1.0, 1.0], size=(400, 3))
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    x = (corners + 0.05 * rng.normal(size=corners.shape)) @ turn
    itq = ITQ(3, seed=1).fit(x)
    assert itq.errors_[-1] < 0.02
    codes = itq.encode(x).numpy()
    assert len(np.unique(np.hstack([corners, codes]), axis=0)) == 8  # one code for each corner


@pytest.mark.parametrize("method", METHODS)
def test_shared_errors(method):
    with pytest.raises(ValueError, match=r"`bits` must be a positive integer"):
        method(0)
    with pytest.raises(ValueError, match=rf"This {method.__name__} has no projection yet: call `.fit\(x\)`"):
        method(K).encode(features())
    with pytest.raises(ValueError, match=r"`x` must be real features n×d.*\(3, 1, 8, 8\)"):
        method(K).fit(torch.zeros(3, 1, 8, 8))
    with pytest.raises(ValueError, match=r"`x` must be real features n×d"):
        method(K).fit(torch.zeros(0, D))
    with pytest.raises(ValueError, match=r"`x` must be finite"):
        method(K).fit(np.full((N, D), np.nan))
    with pytest.raises(ValueError, match=rf"`x` must be n×{D}.*\({N}, {D + 1}\)"):
        method(K).fit(features()).encode(features(d=D + 1))


@pytest.mark.parametrize("method", [PCAHash, ITQ])
def test_too_many_bits(method):
    with pytest.raises(ValueError, match=rf"`bits` must be at most d = {D}.*got 10"):
        method(D + 1).fit(features())
    assert method(D).fit(features()).encode(features()).shape == (N, D)
    with pytest.raises(
        ValueError, match=r"`x` must be rows that vary in at least bits = 4 directions.*3 rows"
    ):
        method(K).fit(features(n=3))
    with pytest.raises(ValueError, match=r"vary in at least bits = 1 directions"):
        method(1).fit(np.ones((N, D)))


@pytest.mark.parametrize("seed", [-1, 1.5, True])
def test_seed_and_iterations(seed):
    for method in (RandomHyperplanes, ITQ):
        with pytest.raises(ValueError, match=r"`seed` must be an integer ≥ 0"):
            method(K, seed=seed)
    with pytest.raises(ValueError, match=r"`iterations` must be a positive integer"):
        ITQ(K, iterations=seed)

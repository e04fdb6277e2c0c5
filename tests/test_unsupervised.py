"""Unsupervised codes: against NumPy written apart, on data whose answer is known, and their errors."""

import math

import numpy as np
import pytest
import torch

from dhida_lib.unsupervised import ITQ, AnchorGraphHashing, PCAHash, RandomHyperplanes, SpectralHashing

N, D, K = 60, 9, 4


class FewAnchors(AnchorGraphHashing):
    """Anchor graph hashing with anchors for few rows."""

    def __init__(self, bits, anchors=12, **options):
        super().__init__(bits, anchors, **options)


METHODS = [RandomHyperplanes, PCAHash, ITQ, SpectralHashing, FewAnchors]


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


# ---- spectral hashing ------------------------------------------------------------------------------------


def spectral_by_loops(x, y, bits):
    """Codes of y for a fit on x, one bit after the other."""
    mean = x.mean(axis=0)
    axes = np.linalg.svd(x - mean)[2][: min(bits, x.shape[1])]  # p×d
    for axis in axes:
        if axis[np.argmax(np.abs(axis))] < 0:
            axis *= -1
    waves = []
    for axis in axes:
        v = (x - mean) @ axis
        waves += [(k / (v.max() - v.min()), k, axis, v.min(), v.max()) for k in range(1, bits + 1)]
    waves = sorted(waves, key=lambda wave: wave[0])[:bits]
    codes = [
        [1 if np.sin(np.pi / 2 + k * np.pi * ((row - mean) @ axis - a) / (b - a)) >= 0 else -1
         for _, k, axis, a, b in waves]
        for row in y
    ]  # fmt: skip
    return np.array(codes), [k for _, k, *_ in waves]


@pytest.mark.parametrize("bits", [1, 4, 9, 23])
def test_spectral_hashing_is_the_loop(bits):
    x, y = features(3), features(4, n=17)
    hasher = SpectralHashing(bits).fit(x)
    codes, modes = spectral_by_loops(x, y, bits)
    np.testing.assert_array_equal(hasher.encode(y).numpy(), codes)
    assert hasher.modes_.tolist() == modes
    assert (hasher.frequencies_.diff() >= 0).all()


def test_spectral_hashing_gives_a_long_side_more_bits():
    """A box of 4×1 (and one side of length 0): the long side is cut at ½, then into 4 strips, 6, 8 …"""
    u, v = np.meshgrid(np.linspace(0, 4, 81), np.linspace(0, 1, 21))
    x = np.stack([u.ravel(), np.full(u.size, 7.0), v.ravel()], axis=1)
    hasher = SpectralHashing(5).fit(x)
    assert hasher.modes_.tolist() in ([1, 2, 3, 4, 1], [1, 2, 3, 1, 4])  # 4/4 and 1/1 tie, but for rounding
    codes = hasher.encode(np.array([[0.4, 7, 0.2], [1.6, 7, 0.2], [2.4, 7, 0.8], [3.6, 7, 0.8]]))
    assert codes[:, 0].tolist() == [1, 1, -1, -1]
    assert codes[:, 1].tolist() == [1, -1, -1, 1]


def test_spectral_hashing_needs_rows_that_vary():
    with pytest.raises(ValueError, match=r"`x` must be rows that vary, but got '6 equal rows'"):
        SpectralHashing(2).fit(np.full((6, 3), 0.5))


# ---- anchor graph hashing --------------------------------------------------------------------------------


def kmeans_by_loops(x, count, iterations, seed):
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))
    centres = [x[i] for i in order[:count].tolist()]
    for _ in range(iterations):
        owner = [min(range(count), key=lambda j: ((row - centres[j]) ** 2).sum()) for row in x]
        for j in range(count):
            own = [row for row, o in zip(x, owner, strict=True) if o == j]
            centres[j] = np.mean(own, axis=0) if own else centres[j]
    return np.array(centres)


def affinities_by_loops(x, anchors, nearest, width=None):
    squares = np.array([[((row - anchor) ** 2).sum() for anchor in anchors] for row in x])  # n×m
    order = squares.argsort(axis=1)[:, :nearest]
    if width is None:
        width = np.mean([squares[i, js[-1]] ** 0.5 for i, js in enumerate(order)]) ** 2
    Z = np.zeros(squares.shape)
    for i, js in enumerate(order):
        total = sum(math.exp(-squares[i, j] / width) for j in js)
        for j in js:
            Z[i, j] = math.exp(-squares[i, j] / width) / total
    return Z, width


def test_anchors_are_those_of_a_plain_k_means():
    x = features(5)
    hasher = AnchorGraphHashing(3, anchors=7, iterations=4, seed=2).fit(x)
    centred = x - x.mean(axis=0)
    np.testing.assert_allclose(hasher.anchors_.numpy(), kmeans_by_loops(centred, 7, 4, 2), atol=1e-9)


@pytest.mark.parametrize("nearest", [2, 5])
def test_anchor_graph_outputs_are_eigenvectors_of_the_whole_graph(nearest):
    """Through the n×n matrix ZΛ⁻¹Zᵀ, which the library never builds; then new rows by the same weights."""
    x, y = features(5), features(6, n=11)
    mean = x.mean(axis=0)
    hasher = AnchorGraphHashing(K, anchors=10, nearest=nearest).fit(x)
    anchors = hasher.anchors_.numpy()
    Z, width = affinities_by_loops(x - mean, anchors, nearest)
    assert hasher.width_ == pytest.approx(width)
    graph = Z @ np.diag(1 / Z.sum(axis=0)) @ Z.T  # n×n
    np.testing.assert_allclose(graph.sum(axis=1), 1.0)
    Y = Z @ hasher.projection_.numpy()  # n×K
    values = np.linalg.eigvalsh(graph)[::-1][1 : K + 1]  # without the 1 of the constant vector
    np.testing.assert_allclose(graph @ Y, Y * values, atol=1e-8)
    np.testing.assert_allclose(Y.T @ Y, N * np.eye(K), atol=1e-7)
    np.testing.assert_allclose(Y.sum(axis=0), 0, atol=1e-7)
    np.testing.assert_array_equal(hasher.encode(x).numpy(), np.where(Y >= 0, 1, -1))
    new = affinities_by_loops(y - mean, anchors, nearest, width)[0] @ hasher.projection_.numpy()
    np.testing.assert_array_equal(hasher.encode(y).numpy(), np.where(new >= 0, 1, -1))


def test_anchor_graph_parts_that_do_not_touch():
    """Three islands: the eigenvalue 1 is threefold. Without the constant, two outputs name the islands."""
    rng = np.random.default_rng(1)
    island = np.repeat([0, 1, 2], 40)
    x = rng.normal(size=(120, 2)) * 0.1 + np.array([[0, 0], [50, 0], [0, 50]])[island]
    hasher = AnchorGraphHashing(2, anchors=18, nearest=4).fit(x)
    Z = affinities_by_loops(x - x.mean(axis=0), hasher.anchors_.numpy(), 4)[0]
    Y = Z @ hasher.projection_.numpy()  # n×2
    names = np.array([Y[island == i].mean(axis=0) for i in range(3)])
    np.testing.assert_allclose(Y, names[island], atol=1e-7)
    np.testing.assert_allclose(names.sum(axis=0), 0, atol=1e-7)
    assert min(np.abs(names[i] - names[i - 1]).max() for i in range(3)) > 0.5


def test_anchor_graph_lets_an_unused_anchor_be():
    """Equal rows make equal anchors; one of them stays without images and must not give NaN."""
    x = np.repeat(features(7, n=8), 5, axis=0)
    x[0] += 0.01
    hasher = AnchorGraphHashing(2, anchors=20, nearest=4).fit(x)
    assert hasher.projection_.isfinite().all()
    assert set(hasher.encode(x).unique().tolist()) == {-1.0, 1.0}


def test_anchor_graph_follows_the_seed():
    x = features()
    one, again, other = (AnchorGraphHashing(K, anchors=12, seed=s).fit(x) for s in (3, 3, 4))
    assert torch.equal(one.projection_, again.projection_)
    assert not torch.equal(one.anchors_, other.anchors_)


def test_large_sets_join_the_graph_in_parts(monkeypatch):
    from dhida_lib import unsupervised

    x = features(n=50)
    whole = FewAnchors(K).fit(x)
    monkeypatch.setattr(unsupervised, "_PART", 7)
    parts = FewAnchors(K).fit(x)
    torch.testing.assert_close(parts.projection_, whole.projection_)
    assert torch.equal(parts.encode(x), whole.encode(x))


def test_anchor_graph_errors():
    for name in ("anchors", "nearest", "iterations"):
        with pytest.raises(ValueError, match=rf"`{name}` must be a positive integer, but got 0"):
            AnchorGraphHashing(K, **{name: 0})
    with pytest.raises(ValueError, match=r"`bits` must be less than anchors = 8, but got 8"):
        AnchorGraphHashing(8, anchors=8)
    with pytest.raises(ValueError, match=r"`nearest` must be at most anchors = 8, but got 9"):
        AnchorGraphHashing(4, anchors=8, nearest=9)
    with pytest.raises(ValueError, match=r"`x` must be at least anchors = 300 rows, but got '60 rows'"):
        AnchorGraphHashing(K).fit(features())
    with pytest.raises(ValueError, match=r"`x` must be rows that do not all lie on their anchors"):
        AnchorGraphHashing(1, anchors=4).fit(np.ones((9, 2)))
    two_places = np.repeat([[0.0, 0.0], [1.0, 0.0]], 10, axis=0)
    two_places[:, 1] = np.arange(20) % 2 * 1e-3
    with pytest.raises(ValueError, match=r"`x` must be rows whose graph has at least bits = 7 directions"):
        AnchorGraphHashing(7, anchors=8, nearest=8).fit(two_places)


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


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("largest", [1e200, 1e308])
def test_numbers_whose_squares_overflow(method, largest):
    x = largest * np.random.default_rng(0).uniform(-1, 1, (N, D))
    with pytest.raises(ValueError, match=r"^`x` must be numbers whose squares can be summed"):
        method(K).fit(x)


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
    for method in (RandomHyperplanes, ITQ, AnchorGraphHashing):
        with pytest.raises(ValueError, match=r"`seed` must be an integer ≥ 0"):
            method(K, seed=seed)
    with pytest.raises(ValueError, match=r"`iterations` must be a positive integer"):
        ITQ(K, iterations=seed)

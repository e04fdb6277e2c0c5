# The book with all it needs: `docker build -t dhida-book .`, then `docker run -p 8888:8888 dhida-book`.
# With CUDA: `docker build --build-arg TORCH=cuda -t dhida-book .`, then `docker run --gpus all -p 8888:8888 dhida-book`;
# torch's CUDA build brings its libraries, so that the host needs the driver and the container toolkit only.
FROM python:3.12-slim

RUN useradd --create-home --uid 1000 reader && mkdir /book && chown reader /book
USER 1000
WORKDIR /book
ARG TORCH=cpu
COPY --chown=reader . /book
RUN python tools/set_up.py --torch "$TORCH" --no-cache-dir && python tools/start.py work
ENV PATH=/book/.venv/bin:$PATH
EXPOSE 8888
CMD ["jupyter", "lab", "--ip=0.0.0.0", "--no-browser", "--LabApp.default_url=/lab/tree/work"]

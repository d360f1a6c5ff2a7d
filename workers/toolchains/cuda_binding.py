"""One set of inputs in place: buffers on both sides, bound to an execution context by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from farm.domain.errors import BuildError, FarmError, InvalidSpecError
from farm.domain.shapes import DYNAMIC, Shape, shape_text
from workers.toolchains.cuda_arrays import EngineTensor, as_caller_sees, choose_profile, prepare
from workers.toolchains.cuda_driver import DeviceBuffer, Gpu, HostBuffer, cuda_errors
from workers.toolchains.cuda_outputs import make_output_allocator
from workers.toolchains.io_layouts import pack, packed_shape, unpack
from workers.toolchains.trt_log import TrtLog, failure, spec_refusal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray


class Executor:
    """An engine's one execution context, and which inputs are in place in it.

    One, because in TensorRT 8 two contexts can not use the same optimization profile, and because
    each takes its own device memory. So sets of inputs take turns in it.

    Attributes:
        generation: counts the turns; a CUDA graph holds for the turn that it was captured in.
        allocators: of the outputs whose shape follows from the data, by name.
    """

    def __init__(self, trt: Any, context: Any, gpu: Gpu, log: TrtLog) -> None:
        self.trt = trt
        self.context = context
        self.gpu = gpu
        self.log = log
        self.generation = 0
        self.allocators: dict[str, Any] = {}
        self._active: Binding | None = None

    def use(self, binding: Binding) -> None:
        """Puts a set of inputs in place, unless it is there already."""
        if self._active is not binding:
            self._active = None
            self.generation += 1
            binding.bind()
            self._active = binding

    def launch(self, binding: Binding) -> None:
        """Enqueues one inference on the stream.

        Raises:
            FarmError: TensorRT refused.
        """
        self.use(binding)
        if not self.context.execute_async_v3(self.gpu.stream.handle):
            raise binding.pending_error() or failure(self.log, "could not run the engine")

    def allocate_output(self, name: str) -> bool:
        """Gives the context an allocator for an output, once and for good, with room for the largest one.

        TensorRT writes where an earlier inference was told to, so the allocator and its buffer live as long as
        the context, whatever set of inputs is in place. And from its second inference on TensorRT 8.6 asks the
        allocator for as many bytes as the inference *before* took, then writes as many as it likes (seen on an
        H200: 504 asked for, 129,888 written). So there is room for the most that the inputs in place can give.

        Raises:
            OutOfMemoryError: there is no such room.
        """
        is_set = True
        if name not in self.allocators:
            self.allocators[name] = make_output_allocator(self.trt, self.gpu)
            is_set = bool(self.context.set_output_allocator(name, self.allocators[name]))
        # -1 where TensorRT knows no bound.
        self.allocators[name].buffer.grow(int(self.context.get_max_output_size(name)))
        return is_set

    def close(self) -> None:
        """Lets the context go, then what it wrote to."""
        self.context = None
        for allocator in self.allocators.values():
            allocator.buffer.close()
        self.allocators.clear()

    def forget(self, binding: Binding | None = None) -> None:
        """The set of inputs, or whichever it is, is no longer in place."""
        if binding is None or self._active is binding:
            self._active = None


class Binding:
    """Inputs of one shape, with buffers for them and for the outputs.

    Args:
        executor: the context.
        tensors: the engine's inputs and outputs.
        given: the inputs.
        turns: other inputs of the same shapes, which copies to the device take in turns with them; what the host must
            hold, such as a shape, stays as given.

    Raises:
        InvalidSpecError: an input is missing or does not fit.
        OutOfMemoryError: there is no room for the buffers.
    """

    def __init__(
        self,
        executor: Executor,
        tensors: Sequence[EngineTensor],
        given: Mapping[str, NDArray[Any]],
        turns: Sequence[Mapping[str, NDArray[Any]]] = (),
    ) -> None:
        self._executor = executor
        self._gpu = executor.gpu
        self._tensors = tuple(tensors)
        self._host: dict[str, HostBuffer] = {}
        self._device: dict[str, DeviceBuffer] = {}
        self._data_dependent: set[str] = set()
        self._bound_shapes: dict[str, Shape] = {}
        self._users = 1
        self._turns: list[dict[str, HostBuffer]] = []
        self._turn = 0
        arrays = prepare(tensors, given)
        self._profile = choose_profile(tensors, arrays)
        try:
            for tensor in self._inputs():
                array = arrays[tensor.name]
                packed = pack(tensor.format_in(self._profile), array)
                host = self._host[tensor.name] = HostBuffer(self._gpu, tensor.storage, packed.shape)
                host.array[...] = packed
                self._bound_shapes[tensor.name] = array.shape
                if not tensor.on_host:
                    self._device[tensor.name] = DeviceBuffer(self._gpu, host.nbytes)
            for turn in turns:
                self._add_turn(prepare(tensors, turn))
            executor.use(self)
        except BaseException:
            self.close()
            raise

    @property
    def has_data_dependent_outputs(self) -> bool:
        """Whether an output's shape is known only after the inference."""
        return bool(self._data_dependent)

    def bind(self) -> None:
        """Gives the context the profile, the shapes and the addresses; called by the executor."""
        context, log, stream = self._executor.context, self._executor.log, self._gpu.stream
        log.forget()
        with cuda_errors(self._gpu.drv, "binding the inputs"):
            if not context.set_optimization_profile_async(self._profile, stream.handle):
                raise failure(log, f"could not use optimization profile {self._profile}")
            stream.synchronize()
            for tensor in self._inputs():
                host = self._host[tensor.name]
                shape = self._bound_shapes[tensor.name]
                where = host.address if tensor.on_host else self._device[tensor.name].address
                if not context.set_input_shape(tensor.name, shape):
                    raise spec_refusal(log, f"shape {shape_text(shape)} for input {tensor.name!r}")
                if not context.set_tensor_address(tensor.name, where):
                    raise failure(log, f"could not bind input {tensor.name!r}")
            missing = context.infer_shapes()
            if missing:
                raise InvalidSpecError(f"the engine still lacks the shape of {', '.join(missing)}")
            for tensor in self._outputs():
                self._bind_output(tensor)

    def copy_in(self) -> None:
        """Enqueues the copies of the inputs to the device: of those whose turn it is."""
        self._turn = (self._turn + 1) % (len(self._turns) + 1)
        source = self._turns[self._turn - 1] if self._turn else self._host
        for tensor in self._inputs():
            host = source[tensor.name] if not tensor.on_host else None
            if host is not None and host.nbytes:
                address = self._device[tensor.name].address
                self._gpu.drv.memcpy_htod_async(address, host.raw, self._gpu.stream)

    def copy_out(self) -> None:
        """Enqueues the copies of the outputs to the host."""
        for tensor in self._outputs():
            if tensor.name in self._data_dependent:
                allocator = self._executor.allocators[tensor.name]
                self._make_room(tensor, allocator.shape)
                if self._host[tensor.name].nbytes > allocator.buffer.capacity:
                    raise BuildError(f"TensorRT asked for less memory than output {tensor.name!r} takes")
            if not tensor.on_host:
                self._copy_out(tensor.name)

    def outputs(self) -> dict[str, NDArray[Any]]:
        """Copies of the outputs, once the stream has been waited for."""
        return {tensor.name: as_caller_sees(tensor, self._read(tensor)) for tensor in self._outputs()}

    def pending_error(self) -> FarmError | None:
        """What went wrong inside a call-back of TensorRT, where nothing can be raised."""
        for allocator in self._executor.allocators.values():
            if allocator.error is not None:
                error: FarmError = allocator.error
                return error
        return None

    def share(self) -> Binding:
        """The same binding for one more user, each of which closes it."""
        self._users += 1
        return self

    def close(self) -> None:
        """Gives the buffers back when the last user closes it."""
        self._users -= 1
        if self._users != 0:
            return
        self._executor.forget(self)
        for buffers in (self._host, *self._turns):
            for host in buffers.values():
                host.close()
        for device in self._device.values():
            device.close()
        self._host.clear()
        self._turns.clear()
        self._device.clear()

    def _add_turn(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Other inputs, in page-locked memory of their own."""
        buffers: dict[str, HostBuffer] = {}
        self._turns.append(buffers)
        for tensor in self._inputs():
            if not tensor.on_host:
                packed = pack(tensor.format_in(self._profile), arrays[tensor.name])
                host = buffers[tensor.name] = HostBuffer(self._gpu, tensor.storage, packed.shape)
                host.array[...] = packed

    def _inputs(self) -> list[EngineTensor]:
        return [tensor for tensor in self._tensors if tensor.is_input]

    def _outputs(self) -> list[EngineTensor]:
        return [tensor for tensor in self._tensors if not tensor.is_input]

    def _bind_output(self, tensor: EngineTensor) -> None:
        context, name = self._executor.context, tensor.name
        shape = tuple(context.get_tensor_shape(name))
        # Asked again after an inference, the context tells the shape that came of that one's data: once
        # data-dependent, always so.
        if DYNAMIC in shape or name in self._executor.allocators:
            self._data_dependent.add(name)
            bound = self._executor.allocate_output(name)
        else:
            self._make_room(tensor, shape)
            if not tensor.on_host and name not in self._device:
                self._device[name] = DeviceBuffer(self._gpu, self._host[name].nbytes)
            where = self._host[name].address if tensor.on_host else self._device[name].address
            bound = context.set_tensor_address(name, where)
        if not bound:
            raise failure(self._executor.log, f"could not bind output {name!r}")

    def _read(self, tensor: EngineTensor) -> NDArray[Any]:
        """An output in the order that everybody has."""
        host = self._host[tensor.name].array
        return unpack(tensor.format_in(self._profile), host, self._bound_shapes[tensor.name])

    def _make_room(self, tensor: EngineTensor, shape: Shape | None) -> None:
        """A host buffer of exactly the output's size."""
        if shape is None:
            raise BuildError(f"the engine did not say the shape of output {tensor.name!r}")
        if self._bound_shapes.get(tensor.name) == shape:
            return
        if tensor.name in self._host:
            self._host.pop(tensor.name).close()
        packed = packed_shape(tensor.format_in(self._profile), shape)
        self._host[tensor.name] = HostBuffer(self._gpu, tensor.storage, packed)
        self._bound_shapes[tensor.name] = shape

    def _copy_out(self, name: str) -> None:
        host = self._host[name]
        allocators = self._executor.allocators
        device = allocators[name].buffer if name in self._data_dependent else self._device[name]
        if host.nbytes:
            self._gpu.drv.memcpy_dtoh_async(host.raw, device.address, self._gpu.stream)

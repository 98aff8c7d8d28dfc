"""Which operators each module registers; written by python -m tools.operator_index."""

#: by domain and module
OPERATORS: dict[tuple[str, str], str] = {
    ("", "ai_onnx.activation"): (
        "Celu Elu Gelu HardSigmoid HardSwish Hardmax LeakyRelu LogSoftmax Mish PRelu Relu Selu "
        "Shrink Sigmoid Softmax Softplus Softsign Swish Tanh ThresholdedRelu"
    ),
    ("", "ai_onnx.arithmetic"): (
        "Add BitShift BitwiseAnd BitwiseNot BitwiseOr BitwiseXor Clip Div Max Mean Min Mod Mul "
        "Pow Sub Sum"
    ),
    ("", "ai_onnx.attention"): "Attention RotaryEmbedding SwiGLU TensorScatter",
    ("", "ai_onnx.batch_normalization"): "BatchNormalization",
    ("", "ai_onnx.cast"): "BitCast Cast CastLike",
    ("", "ai_onnx.control"): "If Loop Scan",
    ("", "ai_onnx.conv"): "Conv",
    ("", "ai_onnx.conv_transpose"): "ConvTranspose",
    ("", "ai_onnx.creation"): (
        "Bernoulli Constant ConstantOfShape EyeLike Multinomial OneHot RandomNormal "
        "RandomNormalLike RandomUniform RandomUniformLike Range"
    ),
    ("", "ai_onnx.dropout"): "Dropout",
    ("", "ai_onnx.image"): "Resize Upsample",
    ("", "ai_onnx.indexing"): (
        "Compress Gather GatherElements GatherND NonZero ReverseSequence TopK Unique"
    ),
    ("", "ai_onnx.joining"): "Concat Split",
    ("", "ai_onnx.linear"): "Det Einsum Gemm MatMul",
    ("", "ai_onnx.linear_attention"): "CausalConvWithState LinearAttention",
    ("", "ai_onnx.logic"): (
        "And Equal Greater GreaterOrEqual IsInf IsNaN Less LessOrEqual Not Or Where Xor"
    ),
    ("", "ai_onnx.loss"): "NegativeLogLikelihoodLoss SoftmaxCrossEntropyLoss",
    ("", "ai_onnx.mathfunctions"): (
        "Abs Acos Acosh Asin Asinh Atan Atanh Ceil Cos Cosh Erf Exp Floor Log Neg Reciprocal "
        "Round Sign Sin Sinh Sqrt Tan"
    ),
    ("", "ai_onnx.normalization"): (
        "GroupNormalization InstanceNormalization LRN LayerNormalization LpNormalization "
        "MeanVarianceNormalization RMSNormalization"
    ),
    ("", "ai_onnx.pool"): (
        "AveragePool GlobalAveragePool GlobalLpPool GlobalMaxPool LpPool MaxPool MaxRoiPool "
        "MaxUnpool"
    ),
    ("", "ai_onnx.quantize"): (
        "ConvInteger DequantizeLinear DynamicQuantizeLinear MatMulInteger QLinearConv "
        "QLinearMatMul QuantizeLinear"
    ),
    ("", "ai_onnx.recurrent"): "GRU LSTM RNN",
    ("", "ai_onnx.reduce"): (
        "ArgMax ArgMin CumProd CumSum ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax "
        "ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare"
    ),
    ("", "ai_onnx.sampling"): "AffineGrid DeformConv GridSample RoiAlign",
    ("", "ai_onnx.scattering"): "Scatter ScatterElements ScatterND",
    ("", "ai_onnx.sequence"): (
        "ConcatFromSequence Optional OptionalGetElement OptionalHasElement SequenceAt "
        "SequenceConstruct SequenceEmpty SequenceErase SequenceInsert SequenceLength SequenceMap "
        "SplitToSequence"
    ),
    ("", "ai_onnx.shape"): (
        "DepthToSpace Expand Flatten Identity Reshape Shape Size SpaceToDepth Squeeze Tile "
        "Transpose Unsqueeze"
    ),
    ("", "ai_onnx.signal"): "BlackmanWindow DFT HammingWindow HannWindow MelWeightMatrix STFT",
    ("", "ai_onnx.slicing"): "CenterCropPad Pad Slice Trilu",
    ("", "ai_onnx.text"): (
        "RegexFullMatch StringConcat StringNormalizer StringSplit TfIdfVectorizer"
    ),
    ("", "ai_onnx.vision"): "Col2Im ImageDecoder NonMaxSuppression",
    ("", "com_microsoft.normalization"): "SimplifiedLayerNormalization",
    ("ai.onnx.ml", "ai_onnx_ml.encoders"): "CategoryMapper LabelEncoder OneHotEncoder",
    ("ai.onnx.ml", "ai_onnx_ml.linear"): "LinearClassifier LinearRegressor",
    ("ai.onnx.ml", "ai_onnx_ml.maps"): "CastMap DictVectorizer ZipMap",
    ("ai.onnx.ml", "ai_onnx_ml.scalers"): (
        "ArrayFeatureExtractor Binarizer FeatureVectorizer Imputer Normalizer Scaler"
    ),
    ("ai.onnx.ml", "ai_onnx_ml.svm"): "SVMClassifier SVMRegressor",
    ("ai.onnx.ml", "ai_onnx_ml.trees"): (
        "TreeEnsemble TreeEnsembleClassifier TreeEnsembleRegressor"
    ),
    ("ai.onnx.preview", "ai_onnx.attention"): "FlexAttention",
    ("ai.onnx.preview.training", "ai_onnx_preview.training"): "Adagrad Adam Momentum",
    ("com.microsoft", "com_microsoft.activation"): (
        "BiasGelu BiasSplitGelu FastGelu Gelu QuickGelu"
    ),
    ("com.microsoft", "com_microsoft.attention"): "Attention MultiHeadAttention QAttention",
    ("com.microsoft", "com_microsoft.group_query"): "GroupQueryAttention",
    ("com.microsoft", "com_microsoft.linear"): (
        "ConvTransposeWithDynamicPads FusedConv FusedGemm FusedMatMul FusedMatMulActivation "
        "Inverse TransposeMatMul"
    ),
    ("com.microsoft", "com_microsoft.nbits"): "GatherBlockQuantized MatMulNBits",
    ("com.microsoft", "com_microsoft.normalization"): (
        "BiasDropout EmbedLayerNormalization QEmbedLayerNormalization SkipLayerNormalization "
        "SkipSimplifiedLayerNormalization"
    ),
    ("com.microsoft", "com_microsoft.qlinear"): (
        "QLinearAdd QLinearAveragePool QLinearConcat QLinearConv QLinearGlobalAveragePool "
        "QLinearLeakyRelu QLinearMul QLinearReduceMean QLinearSigmoid QLinearSoftmax QLinearWhere"
    ),
    ("com.microsoft", "com_microsoft.quantize"): (
        "DequantizeLinear DynamicQuantizeLSTM DynamicQuantizeMatMul MatMulInteger16 "
        "MatMulIntegerToFloat MulInteger QGemm QuantizeLinear"
    ),
    ("com.microsoft", "com_microsoft.rotary"): "RotaryEmbedding",
    ("com.microsoft", "com_microsoft.shape"): (
        "CropAndResize ExpandDims GatherND NhwcMaxPool Pad Range Trilu Unique"
    ),
    ("com.microsoft", "com_microsoft.text"): "Tokenizer",
    ("onnxwalk.fused", "onnxwalk_fused.conv"): "FusedConv",
    ("onnxwalk.fused", "onnxwalk_fused.recurrent"): "GRU LSTM RNN",
}
